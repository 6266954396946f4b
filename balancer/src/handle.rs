//! The door for the rest of the process: start, apply, ask, stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use hancock_proto::app::HealthCheck;
use hancock_proto::ids::{InstanceId, NodeId};
use hancock_proto::report::{Condition, ServiceReport};
use hancock_proto::upstream::UpstreamDoc;

/// What a balancer needs to start.
#[derive(Debug)]
pub struct Options {
    /// The node it serves on.
    pub node: NodeId,
    /// Where end users' HTTP requests arrive; bound early by the caller, so that a port in use is the caller's error.
    pub http: std::net::TcpListener,
    /// Where the admin interface answers; None: nowhere.
    pub admin: Option<std::net::TcpListener>,
    /// Folder of the last known good documents.
    pub data_dir: PathBuf,
    /// Data-plane threads; at least one is used.
    pub threads: usize,
    /// Time between rounds of active checks of documents that do not say more.
    pub check_interval: Duration,
}

/// Why a balancer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A deed on the system failed.
    #[error("cannot {deed}: {source}")]
    Io {
        /// What was tried, with its operands.
        deed: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a document was not applied. What was served before is still served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The document is wrong.
    #[error("upstream {name:?} was not applied: {problem}")]
    Invalid {
        /// Service name.
        name: String,
        /// The first thing wrong with it, naming the field.
        problem: String,
    },
}

/// An instance of this node that is to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalInstance {
    /// Where to dial the served (first) port.
    pub address: SocketAddr,
    /// What to ask, the checked address, and the Host header of an HTTP check. None: ready as soon as it is listed.
    pub check: Option<(HealthCheck, SocketAddr, String)>,
}

/// A running balancer; owns its threads and tasks.
#[derive(Debug)]
pub struct Balancer {
    handle: Handle,
}

impl Balancer {
    /// Starts serving what was last known good.
    ///
    /// # Errors
    /// The data directory, a listener or a thread could not be used.
    pub async fn start(_options: Options) -> Result<Balancer, StartError> {
        Ok(Balancer { handle: Handle { changed: watch::channel(0).0 } })
    }

    /// A door into it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops accepting, lets open requests finish for at most `grace`, ends.
    pub async fn shutdown(self, _grace: Duration) {}
}

/// A door into a running balancer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    changed: watch::Sender<u64>,
}

impl Handle {
    /// One change of one service, from a registry watcher. None: really deleted.
    ///
    /// # Errors
    /// The document is wrong; the last good one stays.
    pub fn apply(&self, _name: &str, _doc: Option<Arc<UpstreamDoc>>) -> Result<(), ApplyError> {
        Ok(())
    }

    /// Which instances of this node are to be judged; replaces the whole set.
    pub fn watch_local(&self, _instances: BTreeMap<InstanceId, LocalInstance>) {}

    /// The verdicts on local instances; absent while not judged yet.
    pub fn readiness(&self) -> BTreeMap<InstanceId, Condition> {
        BTreeMap::new()
    }

    /// What is served, refused and still draining, per service.
    pub fn services(&self) -> BTreeMap<String, ServiceReport> {
        BTreeMap::new()
    }

    /// Bumped whenever [`Handle::readiness`] or [`Handle::services`] would answer something else.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Names of all services known.
    pub fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
