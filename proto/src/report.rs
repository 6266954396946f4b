//! What one node observed: facts, never intentions. Coalesced; the whole report is sent on every change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, DocIndex, Generation, InstanceId, NodeId, Revision, Version};
use crate::service::ServiceName;
use crate::time::Timestamp;

/// Everything a node has to tell, as of now. The newest one replaces all before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The node.
    pub node: NodeId,
    /// This start of its daemon.
    pub boot: BootId,
    /// Counts this boot's reports.
    pub sequence: u64,
    /// The generation stored on disk and acted upon.
    pub generation: Generation,
    /// Instances the node knows of: assigned ones and those it is getting rid of.
    pub instances: BTreeMap<InstanceId, InstanceReport>,
    /// What the node's balancer says, per service name.
    pub services: BTreeMap<ServiceName, ServiceReport>,
    /// Revision of the master's registry that `services` is the outcome of, as far as it was heard; None: nothing of it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Revision>,
    /// The chosen registry that is followed, and how far; None: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Follows>,
}

/// How far a node follows the chosen registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// Number of the choice.
    pub choice: u64,
    /// Where its watch of that registry is.
    pub revision: Revision,
}

/// One instance as observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Version it runs.
    pub version: Version,
    /// Where it is in its life.
    pub life: Life,
    /// Since when.
    pub since: Timestamp,
    /// Why, for lives that need a reason: what happened and the way out, last log lines included for a failed start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Judged by the node's balancer: may get requests. None: not judged yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Condition>,
    /// Starts after the first one.
    pub restarts: u32,
    /// Digest of the image it is made of, as its registry knows it. None: it has none, or is not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// It runs and its checks fail for longer than its liveness allows: it waits to be asked to restart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ailing: bool,
}

/// An instance's life, which only goes forward; a restart on the node is `starting` again within the same life's `running` column
/// (the count tells). Ordered: a later variant is further on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Wanted, no node yet.
    Pending,
    /// A node was chosen.
    Placed,
    /// The node gets the image.
    Pulling,
    /// The node starts it, or waits to start it again.
    Starting,
    /// The process is up.
    Running,
    /// The stop signal was sent.
    Stopping,
    /// Ended as wanted.
    Stopped,
    /// Ended for good, not as wanted.
    Failed,
    /// The node cannot honour the assignment.
    Rejected,
}

impl Life {
    /// Whether nothing will come after it.
    pub fn is_over(self) -> bool {
        matches!(self, Life::Stopped | Life::Failed | Life::Rejected)
    }

    /// The word shown to people.
    pub fn word(self) -> &'static str {
        match self {
            Life::Pending => "pending",
            Life::Placed => "placed",
            Life::Pulling => "pulling",
            Life::Starting => "starting",
            Life::Running => "running",
            Life::Stopping => "stopping",
            Life::Stopped => "stopped",
            Life::Failed => "failed",
            Life::Rejected => "rejected",
        }
    }
}

impl std::fmt::Display for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Something that may be true now and false later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Condition {
    /// True or false.
    pub value: bool,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// What a balancer says of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Highest index it received.
    pub seen: DocIndex,
    /// Highest index it serves *and* has durably: the confirmation.
    pub confirmed: DocIndex,
    /// Why `seen` is not confirmed, when it was decided not to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Retiring or removed peers that are not yet drained at `confirmed`. A peer that is retiring in the document of index `confirmed`
    /// and is *not* listed here is drained: three zeros.
    #[serde(default)]
    pub draining: BTreeMap<InstanceId, Draining>,
}

impl ServiceReport {
    /// Whether it says more than that the newest document is served.
    pub fn is_open(&self) -> bool {
        self.seen > self.confirmed || self.refused.is_some() || !self.draining.is_empty()
    }
}

/// A balancer keeps its old set because an added peer does not pass its own probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The index refused.
    pub index: DocIndex,
    /// The peer that did not pass.
    pub peer: InstanceId,
    /// What its probe said.
    pub reason: String,
}

/// What is still open on a peer on its way out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Open requests.
    pub requests: u64,
    /// Open sessions (upgraded streams, TCP).
    pub sessions: u64,
    /// A routing phase older than the confirmed index is still open and might pick it.
    pub older_phase: bool,
}

impl Draining {
    /// Three zeros.
    pub fn is_drained(self) -> bool {
        self.requests == 0 && self.sessions == 0 && !self.older_phase
    }
}
