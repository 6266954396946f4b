//! Requests and replies of the master's REST API, version 1. The command line prints the same structures with `--output json`.
//!
//! Paths, parameters, bodies and statuses are described where they are routed; all of them together are `master/openapi.json`, which a
//! master answers at `GET /v1/openapi.json`.
//!
//! Any of several masters answers: what the leader must do is sent on to it. Every request shows `Authorization: Bearer TOKEN`. With
//! `stale=true` a read is answered from what this master has. A write with an `Idempotency-Key` (drawn anew for each) can be sent again
//! when its answer was lost: it is carried out once. The last 4,096 keys are remembered.
//!
//! A mistake is answered with [`ApiError`] and a status: 400 malformed, 401 without the token, 404 unknown, 409 conflict, 422 refused spec, 503 no leader.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app::{AppSpec, Problem};
use crate::ids::{
    AppName, ClusterId, DeploymentId, DocIndex, Generation, InstanceId, LogIndex, NodeId, Revision,
    Term, Version, ZoneName,
};
use crate::registry::RegistryUrl;
use crate::report::{Condition, Life};
use crate::resources::{NodeInfo, Offer, Usage};
use crate::service::ServiceName;
use crate::time::Timestamp;
use crate::units::Span;
use crate::upstream::UpstreamDoc;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ApiError {
    /// Short stable word, like `app_not_found`, `invalid_spec`, `conflict`, `no_leader`.
    pub code: String,
    /// One sentence with the operands and the way out.
    pub message: String,
    /// Everything wrong with a refused spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// What applying a spec would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlanReply {
    /// The app.
    pub app: AppName,
    /// What kind of change.
    pub action: PlanAction,
    /// Changed fields of the spec, old and new as JSON; empty when nothing changes.
    pub changes: Vec<FieldChange>,
    /// Where new instances would go.
    pub placements: Vec<PlannedInstance>,
    /// Why some would not find a place; empty when all do.
    pub unplaceable: Vec<String>,
    /// What else is to be known, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Reserved in total while old and new run side by side.
    pub peak: Usage,
    /// The spec with every default filled in.
    pub spec: AppSpec,
}

/// What kind of change a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PlanAction {
    /// The app is new.
    Create,
    /// A second set is started and takes over.
    Replace,
    /// Instances are added or removed, none replaced.
    Scale,
    /// What balancers see changes, or limits of instances that run on: none is started or stopped.
    Reroute,
    /// Nothing.
    Nothing,
}

/// One changed field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FieldChange {
    /// Path, like `resources.memory`.
    pub path: String,
    /// Value before; null when absent.
    pub old: serde_json::Value,
    /// Value after; null when absent.
    pub new: serde_json::Value,
}

/// One instance a plan would place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlannedInstance {
    /// The node.
    pub node: NodeId,
    /// Why this node.
    pub reason: String,
}

/// A write was accepted and is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ApplyReply {
    /// The app.
    pub app: AppName,
    /// Its version now.
    pub version: Version,
    /// The deployment that carries it out; None when nothing had to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// Log index of the write.
    pub index: LogIndex,
}

/// Go back to a version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RollbackRequest {
    /// None: the newest version before this one whose deployment was successful.
    #[serde(default)]
    pub version: Option<Version>,
}

/// Change the number of replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ScaleRequest {
    /// Wanted replicas.
    pub replicas: u32,
}

/// One line of `hancock app list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppSummary {
    /// The app.
    pub app: AppName,
    /// Version asked for.
    pub version: Version,
    /// Asked to be stopped.
    pub stopped: bool,
    /// Wanted replicas.
    pub replicas: u32,
    /// Instances that are ready and in the published documents.
    pub serving: u32,
    /// Newest deployment, as `successful` or `starting`.
    pub deployment: Option<String>,
    /// Hosts.
    pub hosts: Vec<String>,
    /// Ports of every node that lead to it.
    #[serde(default)]
    pub listens: Vec<u16>,
}

/// Everything about an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppDetail {
    /// The summary line.
    pub summary: AppSummary,
    /// The spec asked for.
    pub spec: AppSpec,
    /// Its instances.
    pub instances: Vec<InstanceView>,
    /// What the image's name stood for when the version began, and all its instances are made of. None: its nodes have no such digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Newest deployment.
    pub deployment: Option<DeploymentView>,
    /// Index of the published documents.
    pub published: DocIndex,
}

/// One version of an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VersionInfo {
    /// The version.
    pub version: Version,
    /// When it was applied.
    pub at: Timestamp,
    /// Image, where there is one.
    pub image: Option<String>,
    /// What the image's name stood for then. None: its nodes have no such digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// How its newest deployment stands or ended.
    pub deployment: Option<String>,
    /// A deployment of it was successful.
    pub stable: bool,
    /// First 12 hex digits of SHA-256 of the canonical spec.
    pub digest: String,
}

/// A deployment as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeploymentView {
    /// Its id.
    pub id: DeploymentId,
    /// The app.
    pub app: AppName,
    /// Version it brings.
    pub version: Version,
    /// Phase, as `starting`, or outcome, as `failed`.
    pub phase: String,
    /// Whether it is over.
    pub done: bool,
    /// Whether it is over and went well.
    pub ok: bool,
    /// One sentence: what it waits for, or why it ended so.
    pub reason: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// When it fails if nothing moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Instances it brings.
    pub new: Vec<InstanceView>,
    /// Instances it replaces.
    pub old: Vec<InstanceView>,
    /// State index of this view, for `?after=`.
    pub index: LogIndex,
}

/// An instance as the master knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InstanceView {
    /// Its id.
    pub id: InstanceId,
    /// The app.
    pub app: AppName,
    /// Version it runs.
    pub version: Version,
    /// Node, once placed.
    pub node: Option<NodeId>,
    /// Address of the node and first host port.
    pub address: Option<String>,
    /// Where it is in its life.
    pub life: Life,
    /// Since when.
    pub since: Timestamp,
    /// Judged ready by its node's balancer.
    pub ready: Option<Condition>,
    /// In the published documents.
    pub routed: bool,
    /// Retiring or removed from the documents and on its way out.
    pub draining: bool,
    /// Its node has not been heard of for a lease.
    pub unknown: bool,
    /// Starts after the first.
    pub restarts: u32,
    /// Digest of the image it is made of. None: it has none, or is not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Why, where a reason is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A node as the master knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeView {
    /// What it is and has.
    pub info: NodeInfo,
    /// `alive`, `unknown` or `lost`.
    pub state: String,
    /// Time since it was last heard, in milliseconds; None: not in this term.
    pub heard_ms: Option<u64>,
    /// Reserved by instances.
    pub used: Usage,
    /// Instances on it.
    pub instances: u32,
    /// Generation acted upon.
    pub generation: Generation,
    /// Newest offer.
    pub offer: Option<Offer>,
}

/// A zone and who is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ZoneView {
    /// Its name.
    pub zone: ZoneName,
    /// Labels its nodes have.
    pub selector: BTreeMap<String, String>,
    /// Time given to readers that do not confirm; None: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_settle: Option<Span>,
    /// Its nodes.
    pub nodes: Vec<NodeId>,
    /// Services its balancers carry because they are in it.
    pub services: u32,
}

/// An image to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// Its name, like `registry.example/web:3`.
    pub image: String,
}

/// A server to be added to an upstream kept by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AddServerRequest {
    /// The upstream: a host, or `:port`.
    pub name: ServiceName,
    /// The server's address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its share beside the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// An upstream kept by hand that is to go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeleteUpstreamRequest {
    /// The upstream.
    pub name: ServiceName,
}

/// A service as a zone's balancers carry it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UpstreamView {
    /// The service.
    pub name: ServiceName,
    /// The app that owns it; None: kept by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Index of its document.
    pub index: DocIndex,
    /// Balancers of the zone that confirmed it.
    pub confirmed: u32,
    /// Balancers of the zone.
    pub balancers: u32,
    /// Its peers, in the document's order.
    pub peers: Vec<PeerView>,
    /// The document.
    pub doc: UpstreamDoc,
}

/// A peer of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PeerView {
    /// Host and port.
    pub address: String,
    /// Its share beside the others.
    pub weight: f64,
    /// The instance behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The instance's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// `ok`; `not ready`, by its node's balancer; `failing`, as every balancer of the zone says that tells its traffic, or `failing on 1 of 3`.
    pub health: String,
}

/// What goes on in one service, over all balancers that told of it in their last offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TopLine {
    /// The service.
    pub name: ServiceName,
    /// The app that owns it; None: kept by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Requests, or TCP connections, per second.
    pub requests: f64,
    /// Of these, answered with a status from 500 on, or not at all.
    pub errors: f64,
    /// Mean time of an answer in milliseconds.
    pub latency_ms: f64,
    /// Balancers that told of it.
    pub balancers: u32,
}

/// Choose another registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegistryRequest {
    /// What is chosen.
    pub url: RegistryUrl,
}

/// Remove what another cluster left on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// That cluster.
    pub cluster: ClusterId,
}

/// Send an instance a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignalRequest {
    /// Like "SIGHUP".
    #[cfg_attr(feature = "schema", schema(example = "SIGHUP"))]
    pub signal: String,
}

/// Which registry is in force, and the switch under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RegistryView {
    /// In force, without its password.
    pub url: String,
    /// `settled`; `filling`: the new one gets every document; `confirming`: nodes begin to follow it.
    pub phase: String,
    /// On the way in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Since when a switch is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Nodes that follow the newest choice.
    pub following: u32,
    /// Nodes there are.
    pub nodes: u32,
    /// Those that do not follow it yet, a few of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<NodeId>,
    /// Balancers that read it and are no nodes'; None: not known, or nobody can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readers: Option<u32>,
    /// Some of them by name; those whose lease is over are still waited for by cutovers for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reading: Vec<String>,
    /// Revision of the masters' own registry.
    pub revision: Revision,
}

/// One of the masters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MasterView {
    /// Its name.
    pub name: String,
    /// It has a vote; otherwise it follows until there is an odd number of voters with it.
    pub voter: bool,
    /// It leads.
    pub leader: bool,
    /// Last log index it has; None: not known, or the leader has not heard it in this term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogIndex>,
    /// Version of its program; None: one that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Format the masters have agreed on and write.
    // Masters that do not tell write and know the first one.
    #[serde(default = "first_format")]
    pub format: u32,
    /// Newest format it knows. When all know the next one, they agree on it.
    #[serde(default = "first_format")]
    pub knows: u32,
    /// Where people reach it.
    pub api: String,
    /// Where agents reach it.
    pub agents: String,
    /// Where other masters reach it.
    pub peers: String,
}

fn first_format() -> u32 {
    1
}

/// How the cluster is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StatusView {
    /// The cluster.
    pub cluster: ClusterId,
    /// Version of the master that answers.
    pub version: String,
    /// Name of the leader; None: there is none just now.
    pub leader: Option<String>,
    /// Term.
    pub term: Term,
    /// Last applied log index.
    pub applied: LogIndex,
    /// Nodes by state.
    pub nodes: BTreeMap<String, u32>,
    /// Instances by life.
    pub instances: BTreeMap<String, u32>,
    /// Number of apps.
    pub apps: u32,
    /// Deployments that are not over.
    pub deployments: u32,
    /// Revision of the upstream registry.
    pub registry: Revision,
    /// What keeps the master that answers from writing; None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Where an HTTP request enters on the answering machine, when a balancer runs in the same process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}
