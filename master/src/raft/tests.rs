use std::sync::atomic::{AtomicU64, Ordering};

use hancock_master_core::Format;
use hancock_proto::ids::ClusterId;
use hancock_proto::time::Timestamp;

use super::files::memory::Memory as Device;
use super::*;

mod formats;
mod room;
mod samples;
mod seeds;
mod several;

const SOON: Duration = Duration::from_secs(10);

fn init() -> Command {
    Command::Init {
        cluster: "c".parse().unwrap(),
        at: Timestamp(1),
    }
}

fn started(n: u64) -> Command {
    Command::TermStarted {
        term: Term(n),
        leader: format!("m{n}"),
        at: Timestamp(n),
    }
}

fn seat() -> Seat {
    Seat::alone("c".parse().unwrap(), "m1")
}

async fn start(files: Arc<dyn Files>, tuning: Tuning) -> Raft {
    Raft::start_on(files, seat(), tuning).await.unwrap()
}

#[tokio::test]
async fn a_single_voter_leads_at_once_and_every_start_is_a_new_term() {
    let device = Device::default();
    let mut terms = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        let raft = start(Arc::new(device.clone()), Tuning::default()).await;
        let mut leadership = raft.leadership();
        let now = leadership.wait_for(|l| l.leading).await.unwrap().clone();
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(now.leader.as_deref(), Some("m1"));
        terms.push(now.term);
        raft.shutdown(SOON).await;
    }
    assert!(terms.is_sorted_by(|a, b| a < b), "{terms:?}");
}

#[tokio::test]
async fn state_comes_back_after_a_crash_and_after_a_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    let disk = || Arc::new(Disk::open(dir.path()).unwrap());
    let raft = start(disk(), Tuning::default()).await;
    raft.propose(init(), SOON).await.unwrap();
    raft.propose(started(7), SOON).await.unwrap();
    let before = raft.read(SOON).await.unwrap().state().clone();
    assert_eq!(before.cluster, Some("c".parse::<ClusterId>().unwrap()));
    // No snapshot, no farewell: only the log is left.
    raft.library.shutdown().await.unwrap();
    raft.log.close().await;
    let raft = start(disk(), Tuning::default()).await;
    assert_eq!(same(raft.read(SOON).await.unwrap().state()), same(&before));
    raft.shutdown(SOON).await;
    assert!(
        dir.path().join("snapshot").exists(),
        "a clean end leaves a snapshot"
    );
    let raft = start(disk(), Tuning::default()).await;
    assert_eq!(same(raft.read(SOON).await.unwrap().state()), same(&before));
    raft.shutdown(SOON).await;
}

/// The state without the index of the newest entry, which a new term raises.
fn same(state: &State) -> State {
    let mut same = state.clone();
    same.applied = LogIndex(0);
    same
}

#[tokio::test]
async fn snapshots_bound_the_log() {
    let device = Device::default();
    let tuning = Tuning {
        snapshot_every: 50,
        keep_entries: 5,
    };
    let raft = start(Arc::new(device.clone()), tuning).await;
    raft.propose(init(), SOON).await.unwrap();
    for n in 2..300 {
        raft.propose(started(n), SOON).await.unwrap();
    }
    let before = raft.read(SOON).await.unwrap().state().clone();
    let purged = raft.library.wait(Some(SOON));
    let purged = purged.metrics(|m| m.purged.is_some_and(|id| id.index > 150), "purged");
    purged.await.unwrap();
    raft.shutdown(SOON).await;
    let raft = start(Arc::new(device.crash(0, 1, 0)), tuning).await;
    assert_eq!(same(raft.read(SOON).await.unwrap().state()), same(&before));
    raft.shutdown(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answered_write_is_applied_and_durable() {
    let device = Device::default();
    let raft = start(Arc::new(device.clone()), Tuning::default()).await;
    let answered = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..8u64)
        .map(|w| {
            let (raft, answered) = (raft.clone(), answered.clone());
            tokio::spawn(async move {
                for n in 0..25 {
                    raft.propose(started(w * 100 + n + 1), SOON).await.unwrap();
                    answered.fetch_max(w * 100 + n + 1, Ordering::SeqCst);
                    let seen = raft.newest().state().clock;
                    assert!(seen.0 > w * 100 + n, "an answer is after the write");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    // As if the power was cut now: what is not flushed is lost.
    let left = device.crash(0, 1, 0);
    raft.shutdown(SOON).await;
    let raft = start(Arc::new(left), Tuning::default()).await;
    let clock = raft.read(SOON).await.unwrap().state().clock;
    assert!(clock.0 >= answered.load(Ordering::SeqCst));
    raft.shutdown(SOON).await;
}

#[tokio::test]
async fn a_disk_that_fails_ends_writing_with_an_error() {
    let device = Device::default();
    let raft = start(Arc::new(device.clone()), Tuning::default()).await;
    device.fail_syncs(true);
    let error = raft
        .propose(started(2), Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(!matches!(error, ProposeError::NoLeader { .. }), "{error}");
    let ended = tokio::time::timeout(SOON, raft.ended()).await;
    assert!(ended.is_ok(), "who waits for it is told");
    raft.shutdown(SOON).await;
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_by_name() {
    let device = Device::default();
    let raft = start(Arc::new(device.clone()), Tuning::default()).await;
    raft.propose(init(), SOON).await.unwrap();
    raft.shutdown(SOON).await;
    device.tamper("snapshot", |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let refused = Raft::start_on(Arc::new(device), seat(), Tuning::default()).await;
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("/memory/snapshot is damaged"), "{error}");
}
