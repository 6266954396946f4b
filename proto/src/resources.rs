//! What nodes have and what instances take.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::app::Resources;
use crate::ids::NodeId;
use crate::ports::PortSet;
use crate::service::ServiceName;
use crate::units::{Bandwidth, Cpu, Size};

/// What a node is and has. Registered with the master; replicated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeInfo {
    /// The node's name.
    pub node: NodeId,
    /// The machine's host name.
    pub hostname: String,
    /// Address other nodes reach this node's instances at (no port).
    pub address: String,
    /// Under which addresses clients outside reach it, and over whose lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Uplink>,
    /// Labels for selectors.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What instances may reserve in total.
    pub capacity: Resources,
    /// Host ports to choose from.
    #[cfg_attr(feature = "schema", schema(value_type = crate::ports::InstancePorts))]
    pub ports: PortSet,
    /// Runtime and its version, as "process" or "docker 20.10.24".
    pub runtime: String,
    /// Processor architecture.
    pub arch: String,
    /// Release of the kernel; empty: not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// Version of the agent.
    pub version: String,
}

/// An address of a node and the line behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Uplink {
    /// The address.
    #[cfg_attr(feature = "schema", schema(value_type = String, example = "192.0.2.7"))]
    pub ip: IpAddr,
    /// Whose line it is; None: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// What the line carries; None: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

/// What a node has free just now, sent every few seconds; stays in the leader's memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Offer {
    /// One-minute load average.
    pub load: f64,
    /// Processor time nobody used since the offer before; None: this is the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_free: Option<Cpu>,
    /// What went over the machine's network since the offer before; None: this is the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Free memory.
    pub memory_free: Size,
    /// Free disk.
    pub disk_free: Size,
    /// Host ports in use by anything on the node, as far as the agent knows.
    #[serde(default)]
    pub ports_in_use: BTreeSet<u16>,
    /// What the node's balancer carried since the offer before: the busiest services and those with failing peers, [`MOST_TRAFFIC`] at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traffic: BTreeMap<ServiceName, Traffic>,
}

/// What a machine's own interfaces carry, all together, in bits per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Network {
    /// Into the machine.
    pub received: u64,
    /// Out of it.
    pub sent: u64,
}

/// Most services an offer tells the traffic of.
pub const MOST_TRAFFIC: usize = 256;

/// Most failing peers told of one service.
pub const MOST_FAILING: usize = 16;

/// What one balancer carried of one service, per second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Traffic {
    /// Requests answered, or TCP connections taken.
    pub requests: f64,
    /// Of these, answered with a status from 500 on, or not at all.
    pub errors: f64,
    /// Mean time from a request to the end of its answer, in milliseconds; 0 of TCP.
    pub latency_ms: f64,
    /// Addresses of peers its checks say are bad, [`MOST_FAILING`] at most.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failing: BTreeSet<String>,
}

/// Reserved amounts, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Thousandths of a core.
    pub cpu: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: u64,
}

impl Usage {
    /// With one more instance's reservation.
    #[must_use]
    pub fn plus(self, r: &Resources) -> Self {
        Self {
            cpu: self.cpu + u64::from(r.cpu.as_millicores()),
            memory: self.memory.saturating_add(r.memory.as_bytes()),
            disk: self.disk.saturating_add(r.disk.as_bytes()),
        }
    }

    /// With one instance's reservation less; never below zero.
    #[must_use]
    pub fn minus(self, r: &Resources) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(u64::from(r.cpu.as_millicores())),
            memory: self.memory.saturating_sub(r.memory.as_bytes()),
            disk: self.disk.saturating_sub(r.disk.as_bytes()),
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu: Cpu::millicores(100),
            memory: Size::mib(64),
            disk: Size::bytes(0),
        }
    }
}
