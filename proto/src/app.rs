//! The app spec: what an owner asks for. One model; canonical JSON is what Raft stores and what a version is hashed from.
//!
//! [`AppSpec::decode`] is the only door from the outside: it finds every mistake at once. Serde's own reading is for values that passed it
//! before (state, wire). Every optional part has a default here, so that `plan` can show what is meant.

mod container;
mod decode;
mod defaults;
pub mod image;
pub mod needs;
pub mod path;
mod port;
mod proxy;
mod storage;
pub mod writers;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AppName, ZoneName};
use crate::service::ServiceName;
use crate::units::{Cpu, Size, Span};

pub use container::{Container, Log, Network, Ulimit};
pub use decode::{Problem, host_problem};
pub use port::{InvalidPorts, Port, PortProtocol, PortSpan};
pub use proxy::{ServiceProxy, StickyCookie};
pub use storage::{File, FileMode, InvalidMode, Volume, VolumeKind};

/// One app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AppSpec {
    /// The app's name, unique in the cluster.
    pub app: AppName,
    /// What kind of work it is.
    pub kind: Kind,
    /// How it runs jobs. Only of a task, and there always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Image to run; not needed where nodes run plain processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the image is fetched from its registry.
    #[serde(default, skip_serializing_if = "PullPolicy::is_missing")]
    pub pull_policy: PullPolicy,
    /// Program and arguments. Empty: what the image says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Working directory inside the container, or of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// User inside the container ("name", "uid" or "uid:gid").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Environment, values may hold `{{ port.http }}` and the like.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Labels, free for the owner.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How many instances serve at the same time.
    pub replicas: u32,
    /// What one instance reserves.
    pub resources: Resources,
    /// What one instance may not exceed, where that is not what it reserves.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// The ports an instance listens on.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// What balancers see. Empty: nothing is routed to this app.
    #[serde(default)]
    pub service: Vec<Service>,
    /// Readiness, the only gate for traffic. None: what the image says of itself (HEALTHCHECK), or else a TCP connect to the service's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// When an instance whose checks fail is restarted. None: never because of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// How a new version takes over.
    pub update: Update,
    /// How an instance ends.
    pub stop: Stop,
    /// Where instances may go.
    pub placement: Placement,
    /// What happens on the node when an instance ends by itself.
    pub restart: Restart,
    /// What happens when its node does not hear the masters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect: Option<Disconnect>,
    /// What is mounted into the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Files put there before the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// What is asked of the container engine; nodes that run plain processes have none of it.
    #[serde(default, skip_serializing_if = "Container::is_default")]
    pub container: Container,
}

/// What kind of work an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Runs for ever, `replicas` times.
    Service,
    /// Runs a job whenever it is asked to, `replicas` at the same time.
    Task,
}

/// How an app runs jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// A job runs where the one before has run, in an instance that waits for jobs: nothing is created and removed for it.
    pub reuse: bool,
    /// Time one job may take; then it is ended.
    pub timeout: Span,
}

/// When an image is fetched from its registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Before every first start of an instance.
    Always,
    /// When the node does not have it.
    #[default]
    Missing,
    /// Never: it has to be on the node.
    Never,
}

impl PullPolicy {
    /// Whether it is the usual one.
    pub fn is_missing(&self) -> bool {
        *self == Self::Missing
    }
}

/// What one instance may not exceed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Processor time. None: whatever others leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory. None: what is reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// What it writes beside its image; only with storage drivers of the engine that can tell. None: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Size>,
    /// Processes and threads. None: 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl Limits {
    /// Processes and threads of an instance that names no limit: enough for any app, too few to exhaust the node.
    pub const PIDS: u32 = 4096;

    /// Whether it names none.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an instance that runs under these can be given `other` without a restart: only its disk is cut once and for all.
    pub fn can_become(&self, other: &Self) -> bool {
        self.disk == other.disk
    }
}

/// What one instance reserves on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Processor time.
    pub cpu: Cpu,
    /// Memory; also the limit, where `limits` names no other.
    pub memory: Size,
    /// Disk space.
    pub disk: Size,
}

/// What balancers see of an app: one entry gives one upstream per host, or one for its listen port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Name of the port requests go to.
    pub port: String,
    /// Layer the balancer works on.
    pub protocol: ServiceProtocol,
    /// Hosts (lower case, without port) that lead here; with a path, as in `web.example/api`, only what is below it. Only of HTTP.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Port of every node that leads here; only of TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<u16>,
    /// How a peer is chosen.
    pub balance: Balance,
    /// Rotation weight of each instance.
    pub weight: u32,
    /// How requests are carried. None: as the balancer does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ServiceProxy>,
    /// The zone whose balancers carry it.
    #[serde(default, skip_serializing_if = "ZoneName::is_default")]
    pub zone: ZoneName,
}

impl Service {
    /// What balancers know it by: its hosts, or its listen port.
    pub fn names(&self) -> impl Iterator<Item = ServiceName> + '_ {
        let hosts = self.hosts.iter();
        let hosts = hosts.filter_map(|host| ServiceName::http(host).ok());
        hosts.chain(self.listen.map(ServiceName::tcp))
    }
}

/// Layer a service is balanced on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServiceProtocol {
    /// HTTP requests, keyed by Host.
    Http,
    /// TCP connections, keyed by listen port.
    Tcp,
}

/// How a balancer chooses a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// By path.
    UrlHash,
    /// By client address.
    IpHash,
    /// By the header `X-Hash-Key`.
    HeaderHash,
    /// The fewest open requests and sessions per unit of weight.
    LeastConn,
    /// The better of two drawn at random, by latency and by what is open.
    P2c,
    /// By path, over a Maglev table.
    Maglev,
    /// By client address, over a Maglev table.
    IpMaglev,
    /// By the header `X-Hash-Key`, over a Maglev table.
    HeaderMaglev,
}

/// How readiness is judged, on the instance's own node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is asked.
    #[serde(rename = "type")]
    pub kind: CheckKind,
    /// Name of the port that is asked, by checks that ask one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Path of an HTTP check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Statuses of an HTTP check that count as good. Empty: 200–399.
    #[serde(default)]
    pub expect: Vec<u16>,
    /// Program and arguments of a check by command; a text is given to `/bin/sh -c`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Time between checks.
    pub interval: Span,
    /// Time between checks until the first good one.
    pub start_interval: Span,
    /// Time after a start in which failed checks are no reason to restart. None: `update.healthy_deadline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Span>,
    /// Time one check may take.
    pub timeout: Span,
    /// Good checks in a row before ready.
    pub rise: u32,
    /// Failed checks in a row before not ready.
    pub fall: u32,
}

/// What a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// A connection opens.
    Tcp,
    /// `GET path` answers as expected.
    Http,
    /// `command`, run inside the instance, ends with exit code 0.
    Command,
    /// Nothing of its own, and not what the image says either: a TCP connect to the service's port, where there is a service.
    None,
}

/// When a running instance is restarted because of its checks. As many at the same time as may be missing (`update.max_unavailable`), at
/// least one; a ready one never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Liveness {
    /// Failed checks in a row.
    pub after_failures: u32,
}

/// How a new version takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The order of things.
    pub strategy: Strategy,
    /// How long a new instance must have been ready, without a restart, before the deployment goes on.
    pub min_healthy_time: Span,
    /// Time one instance has from placement to ready.
    pub healthy_deadline: Span,
    /// Time the deployment may take without any progress.
    pub progress_deadline: Span,
    /// Instances that may be missing while balancers switch over.
    pub max_unavailable: u32,
    /// Time a balancer has to pass the new peers by its own probe, else it refuses.
    pub accept_timeout: Span,
    /// Time after which a silent balancer's instances are held instead of waited for.
    pub ack_timeout: Span,
    /// Time held instances are kept for a silent balancer, since its last contact.
    pub hold_unconfirmed: Span,
}

/// The order in which old and new instances come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// A whole second set, one switch, then the old set goes.
    BlueGreen,
    /// The old set goes first, and the new one starts when its nodes have said so: never two at once. Nobody serves in between.
    Recreate,
}

/// How an instance ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// First signal, as "SIGTERM".
    pub signal: String,
    /// Time open requests have to finish before the signal.
    pub drain_timeout: Span,
    /// The same for TCP, WebSocket and upgraded streams.
    pub session_drain_timeout: Span,
    /// Time between the signal and SIGKILL.
    pub grace_period: Span,
}

/// Where instances may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// How nodes are compared.
    pub strategy: PlacementStrategy,
    /// Instances of one version per node, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_node: Option<u32>,
}

/// How nodes that fit are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PlacementStrategy {
    /// As even as possible over nodes.
    Spread,
}

/// What happens on the node when an instance ends by itself. The first restart comes at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Restarts within `interval` before the instance counts as failed.
    pub attempts: u32,
    /// The window attempts are counted in.
    pub interval: Span,
    /// Delay of the second restart; doubles after that.
    pub delay: Span,
    /// Longest delay.
    pub max_delay: Span,
}

/// What happens when an instance's node does not hear the masters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    /// Its node stops it after this time without contact, and the masters replace it no sooner than that is certain: for what must not
    /// run twice. It starts again when the masters are heard, if they still want it there.
    pub stop_after: Span,
}

impl AppSpec {
    /// Reads a spec from any of its encodings, already turned into a JSON value, or tells everything that is wrong with it.
    ///
    /// # Errors
    /// All problems, section by section in the order of the schema; never an empty list.
    pub fn decode(value: &serde_json::Value) -> Result<Self, Vec<Problem>> {
        decode::decode(value)
    }

    /// Every host this app claims, with its path where it has one, in order, without repeats.
    pub fn hosts(&self) -> std::collections::BTreeSet<&str> {
        self.service
            .iter()
            .flat_map(|s| s.hosts.iter().map(String::as_str))
            .collect()
    }

    /// Every port this app's services listen on, in order, without repeats.
    pub fn listens(&self) -> std::collections::BTreeSet<u16> {
        self.service.iter().filter_map(|s| s.listen).collect()
    }

    /// The name of every service: what balancers, registry and confirmations know the app by.
    pub fn names(&self) -> std::collections::BTreeSet<ServiceName> {
        self.service.iter().flat_map(Service::names).collect()
    }

    /// Names of its volumes that stay on their node.
    pub fn named_volumes(&self) -> impl Iterator<Item = &str> {
        let named = self.volumes.iter().filter(|v| v.kind == VolumeKind::Volume);
        named.map(|v| v.source.as_str())
    }

    /// Whether one of its volumes has a single writer.
    pub fn has_single_writer(&self) -> bool {
        self.volumes.iter().any(|v| v.exclusive)
    }

    /// The check the spec itself asks for.
    pub fn own_check(&self) -> Option<&HealthCheck> {
        let own = self.healthcheck.as_ref();
        own.filter(|check| check.kind != CheckKind::None)
    }

    /// The port named `name`.
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|p| p.name == name)
    }

    /// Canonical JSON: what is stored and hashed.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
