//! The replicated log: the only place that names the Raft library.
//!
//! - **Data in**: commands. **Data out**: replies, the newest state, who leads.
//! - **Invariants**: an answered command is durable; a read after an answer sees it; one leader per term, and every start is a new
//!   term, so that (cluster, term) names one leader for ever.
//! - **Never**: decides anything; that is `hancock_master_core`.

mod error;
mod files;
mod frame;
mod joining;
mod log;
mod machine;
mod member;
mod members;
mod network;
mod offline;
mod once;
mod peers;
mod runtime;
mod sealed;
mod snapshot;
mod types;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hancock_master_core::{Command, Reply, State};
use hancock_proto::ids::{LogIndex, Revision, Term};
use openraft::async_runtime::instant::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::network::NetSnapshot;
use openraft::{Config, RaftNetworkFactory, ReadPolicy, ServerState, SnapshotPolicy};
use tokio::sync::{Mutex, watch};

pub use self::error::StoreError;
pub(crate) use self::files::room::Full;
use self::files::room::{Patient, Room};
use self::files::{Disk, Files};
pub(crate) use self::joining::{Introduction, is_refusal, meet};
use self::log::LogStore;
pub(crate) use self::machine::{Applied, Undecodable, decode, encode};
use self::machine::{Machine, Shared};
pub use self::member::Member;
pub(crate) use self::member::{FOUNDER, Seat};
pub(crate) use self::members::{MemberError, Seated};
use self::network::Network;
pub(crate) use self::offline::{Beginning, Stopped, begin};
use self::runtime::{Instant, sleep, spawn, timeout};
use self::types::{Types, Write};
use crate::access::Credentials;

type Library = openraft::Raft<Types, Machine>;

/// How often a write is tried again while nobody leads.
const RETRY: Duration = Duration::from_millis(20);
/// Longest a start waits for a leader and for its log to be applied.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// Time between heartbeats; a leader that paused longer confirms itself before it sends anything.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);

/// Shortest and longest wait for a silent leader's successor, beginning when the longest has passed: a write is accepted again after
/// about twice as long.
const ELECTION: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(500));
/// Longest the leader may take to say how far a reader must be; then it may no longer be the leader.
const READ_INDEX: Duration = Duration::from_secs(1);
/// Longest a snapshot may take on its way to another master.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(120);

/// How much log there may be.
#[derive(Debug, Clone, Copy)]
struct Tuning {
    /// Entries between two snapshots.
    snapshot_every: u64,
    /// Entries kept behind a snapshot, for followers that are only a little behind.
    keep_entries: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            snapshot_every: 10_000,
            keep_entries: 1_000,
        }
    }
}

/// The replicated log and its state. Clones share it.
#[derive(Clone)]
pub(crate) struct Raft {
    library: Library,
    seat: Arc<Seat>,
    network: Network,
    log: LogStore,
    shared: Arc<Shared>,
    leadership: watch::Receiver<Leadership>,
    room: Room,
    /// Held while this master changes who the masters are.
    changing: Arc<Mutex<()>>,
}

/// Who leads, as far as this master knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The newest term.
    pub(crate) term: Term,
    /// The leader's name.
    pub(crate) leader: Option<String>,
    /// The leader's id.
    pub(crate) id: Option<u64>,
    /// Where the leader is.
    pub(crate) place: Option<Member>,
    /// It is this master.
    pub(crate) leading: bool,
}

/// A command was carried out.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) reply: Reply,
    /// Where it stands in the log.
    pub(crate) index: LogIndex,
}

/// Why a command was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProposeError {
    /// Nothing was written.
    #[error("no master leads just now (waited {waited:?}); try again in a second")]
    NoLeader { waited: Duration },
    /// It may or may not have been written.
    #[error("the answer was lost while the leader changed; read the state before trying again")]
    Unknown,
    /// Nothing was written: there is no room.
    #[error("this master's disk is full: {0}")]
    Full(Full),
    /// Nothing will be written any more.
    #[error("this master's log has stopped: {reason}")]
    Stopped { reason: String },
}

impl Raft {
    /// Reads the log in `folder` and takes part. A master alone returns when it leads and everything before is applied; one of several
    /// returns at once, because the others may need it to find a leader.
    pub(crate) async fn start(folder: &Path, seat: Seat) -> Result<Self, StoreError> {
        let disk = Disk::open(folder)
            .map_err(|e| StoreError::io("open the folder", folder.to_owned(), e))?;
        Self::start_on(Arc::new(disk), seat, Tuning::default()).await
    }

    async fn start_on(
        files: Arc<dyn Files>,
        seat: Seat,
        tuning: Tuning,
    ) -> Result<Self, StoreError> {
        let room = Room::default();
        let files: Arc<dyn Files> = Arc::new(Patient::new(files, room.clone()));
        let log = LogStore::open(files.clone())?;
        let network = Network::new(Arc::new(seat));
        Self::assemble(files, log, room, network.clone(), network, tuning).await
    }

    /// Everything but the log's writer and the `way` to the others, which tests exchange.
    async fn assemble<N>(
        files: Arc<dyn Files>,
        log: LogStore,
        room: Room,
        network: Network,
        way: N,
        tuning: Tuning,
    ) -> Result<Self, StoreError>
    where
        N: RaftNetworkFactory<Types>,
        N::Network: NetSnapshot<Types, SnapshotData = Vec<u8>>,
    {
        let failed = |reason: String| {
            StoreError::io(
                "start raft on",
                files.path(""),
                std::io::Error::other(reason),
            )
        };
        let machine = Machine::open(files.clone())?;
        let shared = machine.shared();
        let seat = network.seat();
        let config = Arc::new(config(tuning).map_err(|e| failed(e.to_string()))?);
        let library = Library::new(seat.id, config, way, log.clone(), machine)
            .await
            .map_err(|e| failed(e.to_string()))?;
        let leadership = follow_leadership(&library);
        let raft = Self {
            library,
            seat,
            network,
            log,
            shared,
            leadership,
            room,
            changing: Arc::default(),
        };
        raft.begin().await.map_err(failed)?;
        drop(spawn(raft.clone().promote()));
        Ok(raft)
    }

    /// Makes the cluster when there is none, and elects itself where nobody else can be meant.
    async fn begin(&self) -> Result<(), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let us = self.seat.id;
        if self.library.is_initialized().await.map_err(|e| text(&e))? {
            // Nobody at all where the first entries were lost before they were on disk: the others bring them again.
            if !self.library.voter_ids().eq([us]) {
                return Ok(());
            }
            let trigger = self.library.trigger();
            trigger.elect(false).await.map_err(|e| text(&e))?;
        } else if self.seat.founder {
            let voters = BTreeMap::from([(us, self.seat.member.clone())]);
            self.library
                .initialize(voters)
                .await
                .map_err(|e| text(&e))?;
        } else {
            return Ok(());
        }
        let recovered = self.library.wait_for_recovery(Some(START_DEADLINE)).await;
        recovered.map(drop).map_err(|e| text(&e))
    }

    /// Writes a command, trying again until `deadline` has passed while nobody leads.
    pub(crate) async fn propose(
        &self,
        command: Command,
        deadline: Duration,
    ) -> Result<Accepted, ProposeError> {
        self.propose_once(command, None, deadline).await
    }

    /// As [`Raft::propose`]; a command that was carried out under the same `key` before gets the answer of then.
    pub(crate) async fn propose_once(
        &self,
        command: Command,
        key: Option<Arc<str>>,
        deadline: Duration,
    ) -> Result<Accepted, ProposeError> {
        let begun = Instant::now();
        let write = Write::new(self.newest().state().format, command, key);
        loop {
            if self.is_cut_off() {
                let waited = begun.elapsed();
                return Err(ProposeError::NoLeader { waited });
            }
            if let Some(full) = self
                .room
                .full()
                .filter(|_| self.leadership.borrow().leading)
            {
                return Err(ProposeError::Full(full));
            }
            let left = deadline.saturating_sub(begun.elapsed());
            let attempt = self.library.client_write(write.clone());
            let result = timeout(left.max(RETRY), attempt).await;
            match result.map(|r| r.map_err(judge_write)) {
                Ok(Ok(response)) => {
                    let index = LogIndex(response.log_id.index);
                    return Ok(accepted(response.data.0, index));
                }
                Ok(Err(Refusal::Final(error))) => return Err(error),
                Ok(Err(Refusal::NotLeading))
                    if begun.elapsed() >= deadline || self.another_leads() =>
                {
                    let waited = begun.elapsed();
                    return Err(ProposeError::NoLeader { waited });
                }
                Ok(Err(Refusal::NotLeading)) => sleep(RETRY).await,
                Err(_elapsed) => return Err(ProposeError::Unknown),
            }
        }
    }

    /// This master leads, and hears too few others to write anything.
    fn is_cut_off(&self) -> bool {
        let alone = self.library.voter_ids().nth(1).is_none();
        let Ok(leader) = self.library.as_leader() else {
            return false;
        };
        let heard = leader.last_quorum_acked();
        !alone && heard.is_some_and(|at| at.elapsed() > ELECTION.1 * 2)
    }

    /// Waiting here would be in vain.
    fn another_leads(&self) -> bool {
        let now = self.leadership.borrow();
        now.id.is_some_and(|id| id != self.seat.id)
    }

    /// As [`Raft::read`], on any master: a follower asks the leader how far it must be, and waits until it is.
    pub(crate) async fn read_here(&self, deadline: Duration) -> Result<Arc<Applied>, ProposeError> {
        let begun = Instant::now();
        loop {
            let left = deadline.saturating_sub(begun.elapsed()).max(RETRY);
            let (id, place) = {
                let now = self.leadership.borrow();
                (now.id, now.place.clone())
            };
            match (id, place) {
                (Some(id), Some(place)) if id != self.seat.id => {
                    if self.follow(id, &place, left).await {
                        return Ok(self.newest());
                    }
                }
                (Some(_), _) => match self.read(left).await {
                    Err(ProposeError::NoLeader { .. }) => {}
                    read => return read,
                },
                (None, _) => {}
            }
            if begun.elapsed() >= deadline {
                let waited = begun.elapsed();
                return Err(ProposeError::NoLeader { waited });
            }
            sleep(RETRY).await;
        }
    }

    /// Waits until everything the leader has answered is applied here; false: it could not be told.
    async fn follow(&self, leader: u64, place: &Member, deadline: Duration) -> bool {
        let begun = Instant::now();
        let peer = self.network.peer(leader, place);
        let Ok(index) = peer.read_index(deadline.min(READ_INDEX)).await else {
            return false;
        };
        let mut applied = self.applied();
        let reached = applied.wait_for(|here| *here >= index);
        let left = deadline.saturating_sub(begun.elapsed());
        matches!(timeout(left, reached).await, Ok(Ok(_)))
    }

    /// The newest state, with everything in it that was answered before this call.
    pub(crate) async fn read(&self, deadline: Duration) -> Result<Arc<Applied>, ProposeError> {
        let begun = Instant::now();
        loop {
            if self.is_stuck() {
                // To confirm that it leads would keep the others from electing one that has room.
                let waited = begun.elapsed();
                return Err(ProposeError::NoLeader { waited });
            }
            let left = deadline.saturating_sub(begun.elapsed()).max(RETRY);
            let confirm = self.library.ensure_linearizable(ReadPolicy::ReadIndex);
            match timeout(left, confirm).await {
                Ok(Ok(_)) => return Ok(self.newest()),
                Ok(Err(error)) => match judge_read(error) {
                    Refusal::Final(error) => return Err(error),
                    Refusal::NotLeading => sleep(RETRY).await,
                },
                Err(_elapsed) => {}
            }
            if begun.elapsed() >= deadline || self.another_leads() || self.is_cut_off() {
                let waited = begun.elapsed();
                return Err(ProposeError::NoLeader { waited });
            }
        }
    }

    /// How far a reader must be to have seen every answered write; only the leader can say.
    async fn read_index(&self, deadline: Duration) -> Result<LogIndex, ProposeError> {
        let waited = deadline;
        if self.is_stuck() {
            return Err(ProposeError::NoLeader { waited });
        }
        let asked = self.library.get_read_log_id(ReadPolicy::ReadIndex);
        match timeout(deadline, asked).await {
            Ok(Ok((read, _))) => Ok(LogIndex(read.log_id().index)),
            Ok(Err(error)) => Err(match judge_read(error) {
                Refusal::Final(error) => error,
                Refusal::NotLeading => ProposeError::NoLeader { waited },
            }),
            Err(_elapsed) => Err(ProposeError::NoLeader { waited }),
        }
    }

    /// The newest state applied here.
    pub(crate) fn newest(&self) -> Arc<Applied> {
        self.shared.newest()
    }

    /// The cluster's secrets; None: this master is alone.
    pub(crate) fn credentials(&self) -> Option<Arc<Credentials>> {
        self.seat.credentials.clone()
    }

    /// Since when this master's disk has no room; None: it has.
    pub(crate) fn full(&self) -> Option<Full> {
        self.room.full()
    }

    /// Told after every applied batch.
    pub(crate) fn applied(&self) -> watch::Receiver<LogIndex> {
        self.shared.index()
    }

    /// Told when the embedded registry has changed.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.shared.revision()
    }

    /// Who leads.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Returns when Raft has ended, by itself or not.
    pub(crate) async fn ended(&self) {
        // All metrics end with Raft. Those of the server are the ones that do not change with every write.
        let mut metrics = self.library.server_metrics();
        while metrics.changed().await.is_ok() {}
    }

    /// Gives the lead to another voter, takes a snapshot where it saves replaying, and ends. What is not done in time is done by the next start.
    pub(crate) async fn shutdown(&self, deadline: Duration) {
        let orderly = async {
            self.hand_over().await;
            if self.room.full().is_some() {
                self.room.close();
            } else {
                self.final_snapshot().await;
            }
            if let Err(error) = self.library.shutdown().await {
                tracing::warn!(%error, "raft did not end cleanly");
            }
            self.log.close().await;
        };
        let late = timeout(deadline, orderly).await.is_err();
        self.room.close();
        if late {
            tracing::warn!(
                ?deadline,
                "raft did not end in time; its log is replayed by the next start"
            );
        }
    }

    async fn final_snapshot(&self) {
        let (applied, have) = {
            let metrics = self.library.metrics();
            let now = metrics.borrow_watched();
            (now.last_applied, now.snapshot)
        };
        if applied <= have || self.library.trigger().snapshot().await.is_err() {
            return;
        }
        let taken = self
            .library
            .wait(Some(START_DEADLINE))
            .metrics(|m| m.snapshot >= applied, "final snapshot")
            .await;
        if let Err(error) = taken {
            tracing::warn!(%error, "no final snapshot; the log is replayed by the next start");
        }
    }
}

impl Applied {
    /// The replicated state.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

fn config(tuning: Tuning) -> Result<Config, openraft::ConfigError> {
    let config = Config {
        cluster_name: "hancock".into(),
        heartbeat_interval: millis(HEARTBEAT),
        election_timeout_min: millis(ELECTION.0),
        election_timeout_max: millis(ELECTION.1),
        install_snapshot_timeout: millis(SNAPSHOT_DEADLINE),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(tuning.snapshot_every),
        max_in_snapshot_log_to_keep: tuning.keep_entries,
        enable_pre_vote: Some(true),
        // A leader that comes back is a new leader with a new term: its view begins empty, and its fence tells the two apart.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn accepted(reply: Option<Reply>, index: LogIndex) -> Accepted {
    // Only Raft's own entries have no reply, and those are never proposed here.
    let reply = reply.unwrap_or(Reply::Done);
    Accepted { reply, index }
}

enum Refusal {
    NotLeading,
    Final(ProposeError),
}

fn stopped(reason: &dyn std::fmt::Display) -> Refusal {
    let reason = reason.to_string();
    Refusal::Final(ProposeError::Stopped { reason })
}

fn judge_write(error: RaftError<Types, ClientWriteError<Types>>) -> Refusal {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => Refusal::NotLeading,
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            Refusal::Final(ProposeError::Unknown)
        }
        RaftError::APIError(other) => stopped(&other),
        RaftError::Fatal(fatal) => stopped(&fatal),
    }
}

fn judge_read(error: RaftError<Types, LinearizableReadError<Types>>) -> Refusal {
    match error {
        RaftError::APIError(_) => Refusal::NotLeading,
        RaftError::Fatal(fatal) => stopped(&fatal),
    }
}

/// Turns the library's metrics into what others need to know of them.
fn follow_leadership(library: &Library) -> watch::Receiver<Leadership> {
    let mut metrics = library.server_metrics();
    let (tx, rx) = watch::channel(Leadership::default());
    drop(spawn(async move {
        loop {
            // Copied at once: holding the guard would stop Raft.
            let now = leadership(&metrics.borrow_watched());
            tx.send_if_modified(|have| {
                let changed = *have != now;
                *have = now;
                changed
            });
            if metrics.changed().await.is_err() {
                break;
            }
        }
        tx.send_modify(|last| last.leading = false);
    }));
    rx
}

fn leadership(metrics: &openraft::metrics::RaftServerMetrics<Types>) -> Leadership {
    let id = metrics.current_leader;
    let place = id.and_then(|id| metrics.membership_config.get_node(&id).cloned());
    let name = |id: u64| {
        place
            .as_ref()
            .map_or_else(|| id.to_string(), |place| place.name.clone())
    };
    Leadership {
        term: Term(metrics.vote.leader_id.term),
        leader: id.map(name),
        id,
        place: place.clone(),
        leading: metrics.state == ServerState::Leader,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
