//! Brings a master up and takes it down.

mod certificates;
mod cluster;
mod identity;
mod revive;
mod seat;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::ClusterId;
use hancock_proto::time::SystemClock;
use hancock_registry::Opener;
use hancock_registry::embedded::Embedded;
use hancock_tls::{API, Door, TlsError};
use hancock_wire::hub_server::HubServer;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api, Limits};
use crate::deps::Deps;
use crate::hub::{Guard, Service, Sessions};
use crate::lead;
use crate::raft::{Raft, Seat, StoreError};

pub use self::cluster::{ClusterOptions, found_cluster, is_encrypted, join_cluster};
pub use self::revive::{Revived, Survivor, restore_cluster};

/// Largest frame taken from an agent: a whole report of a full node fits many times.
const FRAME_LIMIT: usize = 16 << 20;
/// Longest a start waits for its own election.
const LEAD_DEADLINE: Duration = Duration::from_secs(10);

/// What a master needs.
pub struct Options {
    /// Its name, shown as the leader's.
    pub name: String,
    /// Where it keeps what must survive; nobody else may use it meanwhile.
    pub data_dir: PathBuf,
    /// Where the API listens; bound by the caller, so that a port in use is found before anything starts.
    pub api: TcpListener,
    /// Where requests enter on this machine, shown in the status.
    pub proxy: Option<String>,
    /// Opens registries outside.
    pub registries: Opener,
}

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What is on disk cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data directory is not this version's, or half of it is missing.
    #[error("{0}")]
    DataDir(String),
    /// The API's socket cannot be served.
    #[error("cannot serve the API: {0}")]
    Api(std::io::Error),
    /// The cluster's authority, or what it signs, cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No cluster was entered.
    #[error("{0}")]
    Join(String),
    /// Nobody was elected.
    #[error("no leader within {LEAD_DEADLINE:?} of the start; see the log of this process")]
    NoLeader,
}

/// A running master.
pub struct Master {
    deps: Arc<Deps>,
    service: Service,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    /// The door of other masters, which stays open until the log has ended.
    peers: Option<(CancellationToken, JoinHandle<()>)>,
    removed: CancellationToken,
}

impl Master {
    /// Starts one; initialises a new cluster in an empty directory. Returns when it leads and answers.
    ///
    /// # Errors
    /// What is on disk cannot be used, or nobody could be elected.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let cluster = identity::keep(&options.data_dir)?;
        let seat = Seat::alone(cluster.clone(), &options.name);
        let raft = Raft::start(&options.data_dir.join(identity::RAFT), seat).await?;
        let started = Self::assemble(options, cluster, raft.clone()).await;
        if started.is_err() {
            raft.shutdown(LEAD_DEADLINE).await;
        }
        started
    }

    async fn assemble(
        options: Options,
        cluster: ClusterId,
        raft: Raft,
    ) -> Result<Self, StartError> {
        let deps = Arc::new(Deps::new(
            options.name,
            cluster,
            raft,
            Arc::new(SystemClock),
        ));
        let (stop, log) = (deps.stop.clone(), deps.raft.clone());
        // Alone it is taken in already; what its version knows may be new.
        let settling = async move { log.settle(Vec::new(), true).await };
        tokio::spawn(async move { stop.run_until_cancelled(settling).await });
        let registry = Arc::new(Embedded::new(deps.clone()));
        let registries = options.registries;
        let leader = tokio::spawn(lead::run(deps.clone(), registry, registries.clone()));
        let mut leading = deps.leading();
        let led = tokio::time::timeout(LEAD_DEADLINE, leading.wait_for(Option::is_some)).await;
        if led.is_err() {
            deps.stop.cancel();
            return Err(StartError::NoLeader);
        }
        let sessions = Arc::new(Sessions::default());
        let limits = Limits::default();
        let service = Service::new(deps.clone(), sessions.clone(), Guard::Open, limits.node);
        let router = api::router(Api::new(deps.clone(), sessions, options.proxy, registries));
        let door = Door::open(options.api, None, API).map_err(StartError::Api)?;
        let api = api::serve(door, router, limits, deps.stop.clone());
        Ok(Self {
            deps,
            service,
            tasks: vec![("api", tokio::spawn(api)), ("leader", leader)],
            peers: None,
            removed: CancellationToken::new(),
        })
    }

    /// The service agents call; as many as there are doors.
    pub fn hub(&self) -> HubServer<Service> {
        HubServer::new(self.service.clone()).max_decoding_message_size(FRAME_LIMIT)
    }

    /// The cluster.
    pub fn cluster(&self) -> &ClusterId {
        &self.deps.cluster
    }

    /// Returns when this master cannot go on: its log cannot be written any more. The way out is a restart.
    pub async fn failed(&self) {
        self.deps.raft.ended().await;
    }

    /// Returns when this master was removed from its cluster: it can only end.
    pub async fn removed(&self) {
        self.removed.cancelled().await;
    }

    /// Ends: the lead, sessions and requests first, then the log. Late ones are named and left behind.
    pub async fn shutdown(self, deadline: Duration) {
        let end = Instant::now() + deadline;
        self.deps.raft.hand_over().await;
        self.deps.stop.cancel();
        for (name, task) in self.tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout_at(end, task).await.is_err() {
                tracing::warn!(task = name, "did not end in time");
                abort.abort();
            }
        }
        // The log gets its time even when others used all of theirs: what it writes now, the next start need not replay.
        let left = end.saturating_duration_since(Instant::now());
        self.deps.raft.shutdown(left.max(deadline / 2)).await;
        if let Some((farewell, door)) = self.peers {
            farewell.cancel();
            door.abort();
        }
    }
}
