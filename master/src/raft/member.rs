//! A master as the others know it, and this master's own place among them.

use std::sync::Arc;

use hancock_master_core::Format;
use hancock_proto::ids::ClusterId;
use hancock_tls::{Connector, GRPC, Party};
use serde::{Deserialize, Serialize};

use super::network::CONNECT;
use crate::access::Credentials;

/// Id of the master that begins a cluster.
pub(crate) const FOUNDER: u64 = 1;

/// A master as the others know it; part of the replicated membership. Addresses are HOST:PORT.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, unique in the cluster.
    // A log of a single master, written before there could be more, calls it so.
    #[serde(alias = "addr")]
    pub name: String,
    /// Where other masters reach it; empty: it is alone.
    #[serde(default)]
    pub peers: String,
    /// Where people reach it.
    #[serde(default)]
    pub api: String,
    /// Where agents reach it.
    #[serde(default)]
    pub agents: String,
    /// Version of its program; empty: one that does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The newest format it knows.
    #[serde(default, skip_serializing_if = "Format::is_first")]
    pub knows: Format,
}

impl Member {
    /// A master that runs this very program, without a name yet.
    pub fn of_this_version() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            knows: Format::NEWEST,
            ..Self::default()
        }
    }
}

/// This master's place in a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) cluster: ClusterId,
    pub(crate) id: u64,
    pub(crate) member: Member,
    /// The cluster's secrets; None: this master is alone and in one process with all who speak to it.
    pub(crate) credentials: Option<Arc<Credentials>>,
    /// What it shows to others; None: the masters speak plain.
    pub(crate) party: Option<Party>,
    /// An empty log begins a cluster. False: it waits for the cluster to take this master in.
    pub(crate) founder: bool,
}

impl Seat {
    /// The only master of a cluster in one process.
    pub(crate) fn alone(cluster: ClusterId, name: &str) -> Self {
        let member = Member {
            name: name.to_owned(),
            ..Member::of_this_version()
        };
        Self {
            cluster,
            id: FOUNDER,
            member,
            credentials: None,
            party: None,
            founder: true,
        }
    }

    /// The way to other masters.
    pub(super) fn connector(&self) -> Connector {
        let tls = self.party.as_ref().map(|party| party.client(GRPC));
        Connector::new(tls, CONNECT)
    }
}
