//! The masters of a run, their disks, and what is between them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hancock_master_core::{Command, State};
use hancock_proto::app::AppSpec;
use hancock_proto::time::Timestamp;
use openraft::RaftLogReader;
use openraft::async_runtime::instant::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use tokio_util::sync::CancellationToken;

use super::super::{Device, init, same};
use super::lot::below;
use super::network::Wire;
use super::time::pass;
use crate::raft::files::room::Room;
use crate::raft::log::LogStore;
use crate::raft::network::Network;
use crate::raft::runtime::{Instant, spawn};
use crate::raft::{FOUNDER, Library, Member, Raft, Seat, Tuning};

/// Masters.
pub(super) const MASTERS: u64 = 3;
/// Snapshots and purges come often.
const TUNING: Tuning = Tuning {
    snapshot_every: 25,
    keep_entries: 3,
};
const STEP: Duration = Duration::from_millis(50);

/// All of it. Clones share it.
#[derive(Clone)]
pub(super) struct World(Arc<Mutex<Inner>>);

#[derive(Default)]
pub(super) struct Inner {
    running: BTreeMap<u64, Running>,
    disks: BTreeMap<u64, Device>,
    /// From whom to whom nothing gets through.
    pub(super) cut: BTreeSet<(u64, u64)>,
    /// Of a thousand messages, how many are lost.
    pub(super) loss: u64,
    /// Longest a message takes, in ms.
    pub(super) delay: u64,
    /// Longest a flush takes, in ms.
    pub(super) flush: u64,
    /// Who sent entries in which term.
    leaders: BTreeMap<u64, u64>,
    /// When the newest message from one to another arrives.
    arrivals: BTreeMap<(u64, u64), Instant>,
    /// What did not hold.
    wrong: Vec<String>,
    begun: Option<Instant>,
    trace: DefaultHasher,
}

/// One start of a master.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) raft: Raft,
    pub(super) device: Device,
    /// Cancelled by its end: from then on nobody hears it.
    pub(super) ended: CancellationToken,
}

fn member(id: u64) -> Member {
    Member {
        name: format!("m{id}"),
        ..Member::default()
    }
}

fn seat(id: u64) -> Seat {
    Seat {
        id,
        member: member(id),
        founder: id == FOUNDER,
        ..Seat::alone("c".parse().unwrap(), "")
    }
}

/// An app that can be restarted any number of times.
fn app() -> Command {
    let spec = serde_json::json!({"app": "web", "command": ["/bin/web"], "replicas": 1});
    Command::ApplyApp {
        spec: Arc::new(AppSpec::decode(&spec).unwrap()),
        at: Timestamp(1),
    }
}

/// A little later.
pub(super) async fn step() {
    pass(STEP).await;
}

impl World {
    /// Three masters that vote, and an app.
    pub(super) async fn begin() -> Self {
        let inner = Inner {
            delay: 5,
            flush: 3,
            begun: Some(Instant::now()),
            ..Inner::default()
        };
        let world = Self(Arc::new(Mutex::new(inner)));
        for id in 1..=MASTERS {
            world.start(id).await;
        }
        let first = world.running(FOUNDER).unwrap().raft;
        for command in [init(), app()] {
            first.propose(command, super::WELL_AGAIN).await.unwrap();
        }
        for id in 2..=MASTERS {
            first.take_in(id, &member(id)).await.unwrap();
        }
        while !(first.is_settled() && first.members().iter().all(|m| m.voter)) {
            step().await;
        }
        world
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// A master that runs.
    pub(super) fn running(&self, id: u64) -> Option<Running> {
        self.lock().running.get(&id).cloned()
    }

    /// What a message for it is given to.
    pub(super) fn library(&self, id: u64) -> Option<Library> {
        self.running(id).map(|running| running.raft.library)
    }

    /// Starts a master from its disk, if it does not run.
    pub(super) async fn start(&self, id: u64) {
        if self.running(id).is_some() {
            return;
        }
        let device = self.lock().disks.entry(id).or_default().clone();
        let (files, ended) = (Arc::new(device.clone()), CancellationToken::new());
        let slow = self.clone();
        let pause = move || pass(Duration::from_micros(below(slow.lock().flush * 1000 + 1)));
        let log = LogStore::open_slow(files.clone(), pause).unwrap();
        let wire = Wire::new(self.clone(), id, ended.clone());
        let network = Network::new(Arc::new(seat(id)));
        let raft = Raft::assemble(files, log, Room::default(), network, wire, TUNING).await;
        let raft = raft.unwrap_or_else(|error| panic!("m{id} does not start: {error}"));
        let running = Running {
            raft,
            device,
            ended,
        };
        self.lock().running.insert(id, running);
    }

    /// Ends a master without a word: of what was not flushed, a part remains, with holes in it.
    pub(super) fn crash(&self, id: u64) {
        let Some(running) = self.lock().running.remove(&id) else {
            return;
        };
        running.ended.cancel();
        let keep = usize::try_from(below(1001)).unwrap();
        let block = usize::try_from(1 + below(200)).unwrap();
        let left = running.device.crash(keep, block, below(u64::MAX));
        self.lock().disks.insert(id, left);
        drop(spawn(async move {
            // What a dead process does with its old disk concerns nobody.
            drop(running.raft.library.shutdown().await);
            running.raft.log.close().await;
        }));
    }

    /// Everybody runs, everything gets through.
    pub(super) async fn heal(&self) {
        {
            let mut inner = self.lock();
            inner.cut.clear();
            (inner.loss, inner.delay, inner.flush) = (0, 5, 3);
        }
        for id in 1..=MASTERS {
            self.mend(id).await;
            self.start(id).await;
        }
    }

    /// A master whose disk has failed ends, and finds what was flushed.
    pub(super) async fn mend(&self, id: u64) {
        let stopped = |running: &Running| {
            let metrics = running.raft.library.metrics();
            metrics.borrow_watched().running_state.is_err()
        };
        if let Some(running) = self.running(id) {
            running.device.fail_syncs(false);
            if stopped(&running) {
                self.crash(id);
            }
        }
    }

    /// Entries were sent by `leader` in `term`.
    pub(super) fn led(&self, term: u64, leader: u64) {
        let mut inner = self.lock();
        let first = *inner.leaders.entry(term).or_insert(leader);
        if first != leader {
            // Said in the end: here it would only end a task of the library's.
            let what = format!("term {term} is led by m{first} and by m{leader}");
            inner.wrong.push(what);
        }
    }

    /// When a message that takes so long arrives: never before one that was sent earlier, because they share a connection.
    pub(super) fn arrival(&self, from: u64, to: u64, takes: Duration) -> Instant {
        let mut inner = self.lock();
        let last = inner.arrivals.get(&(from, to)).copied();
        let at = last
            .max(Some(Instant::now() + takes))
            .unwrap_or_else(Instant::now);
        inner.arrivals.insert((from, to), at);
        at
    }

    /// Something happened, just now.
    pub(super) fn note(&self, what: impl Hash) {
        let mut inner = self.lock();
        let at = inner.begun.map(|begun| begun.elapsed());
        (at, what).hash(&mut inner.trace);
    }

    /// Everything that happened so far, as a number.
    pub(super) fn trace(&self) -> u64 {
        self.lock().trace.finish()
    }

    /// Waits until everybody has applied the same, and compares; the state.
    pub(super) async fn agree(&self) -> State {
        let masters: Vec<Running> = (1..=MASTERS).filter_map(|id| self.running(id)).collect();
        let states = || masters.iter().map(|m| m.raft.newest().state().clone());
        loop {
            let all: Vec<State> = states().collect();
            if all
                .windows(2)
                .all(|pair| pair[0].applied == pair[1].applied)
            {
                assert!(
                    all.windows(2).all(|pair| same(&pair[0]) == same(&pair[1])),
                    "states differ"
                );
                self.compare_logs(&masters).await;
                assert_eq!(self.lock().wrong, Vec::<String>::new());
                return all[0].clone();
            }
            for id in 1..=MASTERS {
                self.mend(id).await;
            }
            step().await;
        }
    }

    async fn compare_logs(&self, masters: &[Running]) {
        let mut known = BTreeMap::new();
        for master in masters {
            let applied = master.raft.newest().last.map_or(0, |id| id.index);
            let mut log = master.raft.log.clone();
            for entry in log.try_get_log_entries(..=applied).await.unwrap() {
                let index = entry.log_id.index;
                let first = known.entry(index).or_insert_with(|| entry.clone());
                assert_eq!(*first, entry, "entry {index} differs");
            }
        }
    }
}
