//! Instances of this node, as whoever looks after them lists them.

use std::net::SocketAddr;

use hancock_proto::app::HealthCheck;
use serde::{Deserialize, Serialize};

/// An instance of this node that is to be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalInstance {
    /// Where to dial the served (first) port; port 0: it has none.
    pub address: SocketAddr,
    /// How it is judged. None: ready as soon as it is listed.
    pub check: Option<LocalCheck>,
}

/// How an instance of this node is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LocalCheck {
    /// By asking over the network: what, the checked address, and the Host header of an HTTP check.
    Asked(HealthCheck, SocketAddr, String),
    /// By a command run inside it, through [`Inside`](crate::probe::Inside).
    Command {
        /// How often, and how many are enough.
        spec: HealthCheck,
        /// Program and arguments, with nothing left to fill in.
        command: Vec<String>,
    },
    /// By somebody else, who says so here.
    Told {
        /// The verdict.
        ready: bool,
        /// Why.
        reason: String,
    },
}

impl LocalCheck {
    /// What is judged here; None: somebody else does.
    pub(crate) fn spec(&self) -> Option<&HealthCheck> {
        match self {
            Self::Asked(spec, ..) | Self::Command { spec, .. } => Some(spec),
            Self::Told { .. } => None,
        }
    }
}
