//! What happened, for people and programs: `hancock events`.

use serde::{Deserialize, Serialize};

use crate::ids::{AppName, DeploymentId, InstanceId, LogIndex, NodeId};
use crate::time::Timestamp;

/// One event. Its number never repeats; a reader resumes after the last number it has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// Number of the event, rising by one.
    pub number: u64,
    /// Log index of the command that caused it.
    pub index: LogIndex,
    /// When, by the leader's clock.
    pub at: Timestamp,
    /// How serious it is.
    pub level: Level,
    /// Short stable word, like `deployment_failed`; listed in [`KINDS`].
    pub kind: String,
    /// The app, where one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The deployment, where one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// The instance, where one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The node, where one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// One sentence, lower case, no full stop.
    pub message: String,
}

/// How serious an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(as = EventLevel)
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As wanted.
    Info,
    /// Went wrong and was handled.
    Warning,
    /// Somebody must look.
    Error,
}

/// Every kind of event there is.
pub const KINDS: [&str; 30] = [
    "app_applied",
    "app_deleted",
    "app_stopped",
    "app_started",
    "deployment_started",
    "deployment_clearing",
    "deployment_promoted",
    "deployment_successful",
    "deployment_failed",
    "deployment_aborted",
    "deployment_superseded",
    "app_brought_back",
    "image_resolved",
    "instance_placed",
    "instance_running",
    "instance_replaced",
    "instance_restarted",
    "instance_failed",
    "instance_stopped",
    "stopped_unconfirmed",
    "node_joined",
    "node_lost",
    "zone_changed",
    "zone_deleted",
    "zones_left",
    "upstream_changed",
    "master_asked",
    "format_agreed",
    "registry_changed",
    "registry_repaired",
];
