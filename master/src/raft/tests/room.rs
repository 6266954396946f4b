//! Disks without room: nothing is lost, everybody is told, and it goes on by itself.

use hancock_testkit::tmpfs::Tmpfs;
use hancock_testkit::wait::wait_for_async;

use super::several::{caught_up, leader, several};
use super::*;

const LATE: Duration = Duration::from_secs(30);

/// Writes until it is told that there is no room; how many were answered.
async fn fill(raft: &Raft, first: u64) -> u64 {
    let mut answered = first;
    loop {
        let written = raft.propose(started(answered), Duration::from_millis(300));
        match written.await {
            Ok(_) => answered += 1,
            // Taken into the log's memory: whether it fits is not known yet.
            Err(ProposeError::Unknown) => {}
            Err(ProposeError::Full(full)) => {
                let told = ProposeError::Full(full).to_string();
                assert!(
                    told.contains("/memory/log-") && told.contains("make room"),
                    "{told}"
                );
                return answered;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

async fn writable(raft: &Raft, n: u64) {
    wait_for_async("room", LATE, async || raft.propose(started(n), SOON).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_writing_until_there_is_room() {
    let device = Device::default();
    let raft = start(Arc::new(device.clone()), Tuning::default()).await;
    raft.propose(init(), SOON).await.unwrap();
    device.leave_room(Some(1500));
    let answered = fill(&raft, 2).await;
    assert!(answered > 3, "some of it fitted: {answered}");
    assert!(raft.read(SOON).await.is_ok(), "it can still be read");
    // The power goes while it is full.
    let left = device.crash(0, 1, 0);
    device.leave_room(None);
    writable(&raft, 900).await;
    assert_eq!(raft.full(), None);
    raft.shutdown(SOON).await;
    let raft = start(Arc::new(left), Tuning::default()).await;
    let clock = raft.read(SOON).await.unwrap().state().clock.0;
    assert!(clock >= answered - 1, "{clock} of {answered}");
    raft.shutdown(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_does_not_keep_a_master_from_ending() {
    let device = Device::default();
    let raft = start(Arc::new(device.clone()), Tuning::default()).await;
    raft.propose(init(), SOON).await.unwrap();
    device.leave_room(Some(0));
    fill(&raft, 2).await;
    let begun = Instant::now();
    raft.shutdown(SOON).await;
    assert!(begun.elapsed() < SOON / 2, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_room_gives_way_and_catches_up() {
    let masters = several(3, Tuning::default()).await;
    let first = leader(&masters).await;
    masters[first].device.leave_room(Some(0));
    let raft = masters[first].raft.clone();
    // It learns of it by a write.
    drop(raft.propose(started(2), Duration::from_millis(500)).await);
    let next = wait_for_async("another leader", LATE, async || {
        let leads = |n: &usize| masters[*n].raft.leadership().borrow().leading;
        let mut others = (0..masters.len()).filter(|n| *n != first);
        others.find(leads).ok_or("none")
    })
    .await;
    for n in 3..50 {
        masters[next].raft.propose(started(n), SOON).await.unwrap();
    }
    assert!(raft.full().is_some());
    masters[first].device.leave_room(None);
    caught_up(&masters, 49).await;
    assert_eq!(raft.full(), None);
    for master in masters {
        master.stop().await;
    }
}

/// The part of a record that did fit is taken back: what is written later comes behind the last whole one.
#[tokio::test]
async fn on_a_real_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = Tmpfs::mount(dir.path(), 512) else {
        return;
    };
    let disk = || Arc::new(Disk::open(dir.path()).unwrap());
    let raft = start(disk(), Tuning::default()).await;
    raft.propose(init(), SOON).await.unwrap();
    small.fill();
    let mut answered = 2;
    while raft.full().is_none() {
        let large = Command::TermStarted {
            term: Term(1),
            leader: "m".repeat(3000),
            at: Timestamp(answered),
        };
        let written = raft.propose(large, Duration::from_millis(300)).await;
        answered += u64::from(written.is_ok());
    }
    small.empty();
    writable(&raft, 500).await;
    raft.library.shutdown().await.unwrap();
    raft.log.close().await;
    let raft = start(disk(), Tuning::default()).await;
    assert_eq!(raft.read(SOON).await.unwrap().state().clock, Timestamp(500));
    raft.shutdown(SOON).await;
}
