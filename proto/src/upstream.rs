//! The upstream document: what a balancer knows of one service. Readable by any Slardar; our own member is `hancock`.

mod proxy;
pub mod read;
mod shape;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::app::HealthCheck;
use crate::ids::{AppName, DocIndex, InstanceId, ZoneName};

pub use proxy::{ForwardedFor, NoPeer, Proxy, SameSite, Seconds, Sticky};

/// One upstream document in its full form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UpstreamDoc {
    /// Levels, the first one preferred. In the text a list, or an object when they have names.
    #[serde(with = "shape::levels")]
    #[cfg_attr(feature = "schema", schema(schema_with = shape::schema_of_levels))]
    pub cluster: Vec<Level>,
    /// Active checks on or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Probe kind: `general`, `http`, `redis`, `mysql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typ: Option<String>,
    /// Probe timeout in seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "shape::number"
    )]
    pub timeout: Option<f64>,
    /// Raw request and statuses of an `http` probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_opts: Option<HttpOpts>,
    /// Balancing mode: `rr`, `url_hash`, `ip_hash`, `header_hash`, and Hancock's own `least_conn`, `p2c`, `maglev`, `ip_maglev`,
    /// `header_maglev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Seconds over which a peer that comes back, or joins, grows from a small share of its weight to all of it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "shape::number"
    )]
    pub slow_start: Option<f64>,
    /// The last peer is never taken out by checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected: Option<bool>,
    /// Failed probes in a row before a verdict turns bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensibility: Option<u32>,
    /// How requests are carried; only Hancock's balancers read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// What only Hancock's balancers read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hancock: Option<Member>,
    /// Options of other writers, kept and echoed.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Peers of one level.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Level {
    /// Its name, where the document's author gave names instead of a list.
    #[serde(skip)]
    pub name: Option<String>,
    /// The peers in order.
    pub servers: Vec<Server>,
    /// Members of other writers, kept and echoed.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// One peer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Server {
    /// Address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Rotation weight; absent means 1.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "shape::number"
    )]
    pub weight: Option<f64>,
    /// Passive ban threshold; absent or 0 means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fails: Option<u32>,
    /// Passive ban window in seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "shape::number"
    )]
    pub fail_timeout: Option<f64>,
    /// The instance behind the address, in documents written by a master. Part of the connection pool's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Members of other writers, kept and echoed.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Raw HTTP probe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HttpOpts {
    /// Sent verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Statuses mapped to `false` are failures; whatever else a writer maps one to is none, and is echoed as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuses: Option<BTreeMap<String, serde_json::Value>>,
    /// Members of other writers, kept and echoed.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The document's own member: lets balancers make before they break, and acknowledge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Member {
    /// The app that owns the document.
    pub app: AppName,
    /// Counts the app's changes; what a balancer confirms.
    pub index: DocIndex,
    /// Peers in `cluster` on their way in: to be passed by this balancer's own probe before the switch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<InstanceId>,
    /// Peers on their way out, whole, because they are no longer in `cluster`: selectable until the switch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retiring: Vec<Server>,
    /// Added peers that may be missing at the switch.
    #[serde(default)]
    pub max_unavailable: u32,
    /// Milliseconds the added peers have to pass.
    pub accept_timeout_ms: u64,
    /// Milliseconds after which sessions on a peer that left are closed. None: they end by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_drain_timeout_ms: Option<u64>,
    /// The probe, with more detail than Slardar's options can say. None: a TCP connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<HealthCheck>,
    /// Checked port per instance, where it is not the served one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub check_ports: BTreeMap<InstanceId, u16>,
    /// Zones whose balancers carry it. Empty: all balancers do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub zones: BTreeSet<ZoneName>,
}

impl UpstreamDoc {
    /// The index, 0 for documents of other writers.
    pub fn index(&self) -> DocIndex {
        self.hancock.as_ref().map(|m| m.index).unwrap_or_default()
    }

    /// All peers of all levels, in order.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.cluster.iter().flat_map(|level| level.servers.iter())
    }
}
