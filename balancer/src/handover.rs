//! What one process of a balancer hands to the next: its listening sockets, what its probes know, and, while it ends, what is still open.
//!
//! The sockets are the very same ones, so no connection that waits in one is lost. From the moment the next process serves, the former one
//! accepts nothing, keeps no documents and probes nobody; it routes what comes in on its kept connections by the sets the next one
//! switches to, and tells how far it has followed ([`hancock_balancer_core::overlap`]). Bans by failed requests are learnt anew.

mod former;
mod sockets;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use hancock_balancer_core::health::PeerHealth;
use hancock_balancer_core::upstream::PeerKey;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::{Condition, ServiceReport};
use hancock_proto::upstream::UpstreamDoc;

use crate::local::LocalInstance;

pub use former::FormerLink;
pub(crate) use former::{Former, Formers, Set};
pub use sockets::{Adopted, Listening, SocketName};

/// What a balancer takes over from the process before it.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Sockets beside those its options name: more of the HTTP port, and those of TCP services.
    pub sockets: Adopted,
    /// What was known of peers and instances.
    pub known: Known,
    /// What is open in the former process, which lives on for a while. None: there is none.
    pub former: Option<Tail>,
    /// Former processes whose next one is gone.
    pub found: Vec<Found>,
}

/// What a former process says to the one that finds it: it has followed nothing of that one's yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub(crate) tail: Tail,
    /// Services it routes for: HTTP, then TCP.
    pub(crate) names: [Vec<String>; 2],
}

/// What probes said; the next process starts with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Of peers of HTTP services.
    #[serde(default)]
    pub(crate) http: Verdicts,
    /// Of peers of TCP services.
    #[serde(default)]
    pub(crate) tcp: Verdicts,
    /// Of instances of the node.
    #[serde(default)]
    pub(crate) locals: Vec<(InstanceId, LocalInstance, Condition)>,
}

/// By service.
pub(crate) type Verdicts = BTreeMap<String, Vec<(PeerKey, PeerHealth)>>;

/// What a process that handed over says of itself, until it ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    pub(crate) http: TailSide,
    pub(crate) tcp: TailSide,
}

/// Of HTTP or TCP services.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TailSide {
    /// Changes followed so far.
    pub(crate) number: u64,
    /// Services with something open on peers that leave.
    pub(crate) open: BTreeMap<String, ServiceReport>,
}

/// A set the next process switched to, for the former one to route by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub(crate) over_tcp: bool,
    pub(crate) number: u64,
    pub(crate) name: String,
    /// None: the service is gone.
    pub(crate) doc: Option<Arc<UpstreamDoc>>,
}
