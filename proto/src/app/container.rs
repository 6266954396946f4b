//! What an app asks of a container engine beside image and program. Plain processes have none of it: a node that runs those refuses an app
//! that asks for any.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::units::Size;

/// Settings of an instance's container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Container {
    /// Network it is in.
    #[serde(skip_serializing_if = "Network::is_bridge")]
    #[cfg_attr(feature = "schema", schema(value_type = String, example = "bridge"))]
    pub network: Network,
    /// Host name inside. None: one the engine makes up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Name servers. Empty: those of the engine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub dns: Vec<IpAddr>,
    /// Domains that short names are looked up in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// Lines of `/etc/hosts`: name to address, or to `host-gateway` for the node itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: BTreeMap<String, String>,
    /// Capabilities beside the engine's usual ones, as "NET_ADMIN"; "ALL" for every one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Usual capabilities it does without; "ALL" for every one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// Every privilege over the node; nodes must have been told to allow it.
    #[serde(skip_serializing_if = "is_false")]
    pub privileged: bool,
    /// Its root file system cannot be written.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// A small init process in front of the program passes signals on and collects orphans.
    #[serde(skip_serializing_if = "is_false")]
    pub init: bool,
    /// Kernel settings of its own namespaces, as "net.core.somaxconn".
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Limits of its processes, as "nofile".
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Size of `/dev/shm`. None: 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Size>,
    /// Where its output goes. None: files of 10 MiB, three of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
}

impl Container {
    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The network of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Network {
    /// One of its own behind the engine's bridge; ports are published.
    #[default]
    Bridge,
    /// The node's: the app listens on host ports itself.
    Host,
    /// None at all.
    Nowhere,
    /// One of the engine's own, made beforehand; ports are published.
    Named(String),
}

impl Network {
    fn is_bridge(&self) -> bool {
        *self == Self::Bridge
    }
}

impl From<String> for Network {
    fn from(text: String) -> Self {
        match text.as_str() {
            "bridge" => Self::Bridge,
            "host" => Self::Host,
            "none" => Self::Nowhere,
            _ => Self::Named(text),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Nowhere => "none",
            Self::Named(name) => name,
        })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// A limit of every process: what it has, and what it may raise that to; -1 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// What it has.
    pub soft: i64,
    /// What it may raise that to.
    pub hard: i64,
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The engine's driver, as "json-file", "local" or "journald".
    pub driver: String,
    /// Options of the driver, as "max-size".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}
