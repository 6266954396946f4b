//! A validated upstream: what is left of a document once nothing in it can be wrong any more.

mod mode;
mod validate;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::app::HealthCheck;
use hancock_proto::ids::{AppName, DocIndex, InstanceId};
use hancock_proto::upstream::UpstreamDoc;
use serde::{Deserialize, Serialize};

use crate::passive::Limits;
use crate::settings::Settings;

pub use mode::{KeyKind, Mode};
pub(crate) use validate::wrong;
pub use validate::{InvalidUpstream, clipped};

/// Who a peer is, within its service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerKey {
    /// Host as the document writes it.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// The instance behind the address, in documents of a master: the same address under another instance is another peer.
    pub instance: Option<InstanceId>,
}

impl PeerKey {
    /// The address, when the host is one; None: a name to be resolved.
    pub fn ip(&self) -> Option<IpAddr> {
        bare(&self.host).parse().ok()
    }
}

impl std::fmt::Display for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Without the brackets of an IPv6 literal.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host)
}

/// One peer as a document lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerSpec {
    /// Who it is.
    pub key: PeerKey,
    /// Rotation weight, finite and not negative.
    pub weight: f64,
    /// When failed requests ban it.
    pub limits: Limits,
}

/// What active checks ask, from the document's plain options.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeKind {
    /// A connection opens.
    Connect,
    /// `query` is sent as it is, one line comes back; with `refused`, it is a status line whose code is not among them.
    Http {
        /// Sent verbatim.
        query: Vec<u8>,
        /// Codes that are failures; None: any line will do.
        refused: Option<Vec<u64>>,
    },
    /// `PING` is answered well; what it says of its replication is told too.
    Redis,
    /// A login succeeds.
    Mysql(Login),
}

/// What a MySQL probe logs in with.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
    /// Database; empty: none is chosen.
    pub database: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the password.
        write!(f, "Login({}@{})", self.user, self.database)
    }
}

/// Active checks of a document, from its plain options.
#[derive(Debug, Clone, PartialEq)]
pub struct Checks {
    /// On or off.
    pub enabled: bool,
    /// What is asked.
    pub probe: ProbeKind,
    /// Per network step.
    pub timeout: Duration,
    /// Failures in a row before a verdict turns bad.
    pub sensibility: u32,
    /// The last peer is never taken out.
    pub protected: bool,
}

/// The part only our balancers read.
#[derive(Debug, Clone, PartialEq)]
pub struct Handover {
    /// The app that owns the document.
    pub app: AppName,
    /// What is confirmed.
    pub index: DocIndex,
    /// Instances to be passed before the switch.
    pub added: Vec<InstanceId>,
    /// Peers selectable until the switch.
    pub retiring: Vec<PeerSpec>,
    /// Added instances that may be missing at the switch.
    pub max_unavailable: usize,
    /// Time the added ones have.
    pub accept_timeout: Duration,
    /// Time sessions on peers that left have; None: as much as they want.
    pub session_drain_timeout: Option<Duration>,
    /// How they are probed; None: a connection opens.
    pub check: Option<HealthCheck>,
}

/// A document that can be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// The service.
    pub name: Arc<str>,
    /// The document it came from, for echo and for the disk.
    pub doc: Arc<UpstreamDoc>,
    /// Levels, the first one preferred.
    pub levels: Vec<Vec<PeerSpec>>,
    /// How a peer is chosen.
    pub mode: Mode,
    /// Time over which a peer that comes back gets its full share; zero: at once.
    pub slow_start: Duration,
    /// Active checks.
    pub checks: Checks,
    /// How requests are carried.
    pub settings: Arc<Settings>,
    /// None: not written by a master.
    pub handover: Option<Handover>,
}

impl Upstream {
    /// Validates a document.
    ///
    /// # Errors
    /// The first thing wrong with it, naming the field.
    pub fn new(name: &str, doc: Arc<UpstreamDoc>) -> Result<Self, InvalidUpstream> {
        validate::validate(name, doc)
    }

    /// The same for TCP connections: they have neither path nor headers, so every hash is one of the client's address.
    #[must_use]
    pub fn over_tcp(mut self) -> Self {
        self.mode = self.mode.over_tcp();
        self
    }

    /// Whether its peers are judged by rounds of checks: all are, but for instances, whose node's balancer judges them.
    pub fn has_rounds(&self) -> bool {
        let instances = self.peers().any(|p| p.key.instance.is_some());
        self.handover.is_none() || (!instances && self.peers().next().is_some())
    }

    /// What is confirmed when it is served; 0 for documents of other writers.
    pub fn index(&self) -> DocIndex {
        self.handover.as_ref().map(|h| h.index).unwrap_or_default()
    }

    /// All peers of all levels, in order.
    pub fn peers(&self) -> impl Iterator<Item = &PeerSpec> {
        self.levels.iter().flatten()
    }

    /// Instances to be passed before the switch.
    pub fn added(&self) -> &[InstanceId] {
        self.handover.as_ref().map_or(&[], |h| &h.added)
    }

    /// Peers on their way out.
    pub fn retiring(&self) -> &[PeerSpec] {
        self.handover.as_ref().map_or(&[], |h| &h.retiring)
    }

    /// The set that serves until the switch: without the added peers, with the retiring ones. None: there is none.
    #[must_use]
    pub fn before(&self) -> Option<Upstream> {
        let added = self.added();
        let mut old = self.clone();
        for level in &mut old.levels {
            level.retain(|p| p.key.instance.as_ref().is_none_or(|i| !added.contains(i)));
        }
        if old.levels.is_empty() {
            old.levels.push(Vec::new());
        }
        old.levels[0].extend(self.retiring().iter().cloned());
        let serves = old.levels.iter().any(|level| !level.is_empty());
        serves.then_some(old)
    }
}
