use std::io::ErrorKind;

use hancock_master_core::{Command, Format};
use hancock_proto::time::Timestamp;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorageExt, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use proptest::prelude::*;

use super::recover::recover;
use super::segment;
use super::*;
use crate::raft::files::memory::Memory as Device;
use crate::raft::machine::Machine;
use crate::raft::types::Write;

fn log_id(term: u64, index: u64) -> LogId {
    let leader = openraft::vote::leader_id_std::CommittedLeaderId::new(term);
    openraft::LogId {
        leader_id: leader,
        index,
    }
}

/// An entry whose content tells its index and a mark.
fn entry(index: u64, mark: u64) -> Entry {
    let command = Command::StopApp {
        app: "web".parse().unwrap(),
        at: Timestamp(mark),
    };
    Entry::new_normal(log_id(1, index), Write::new(Format::FIRST, command, None))
}

fn open(device: &Device) -> LogStore {
    LogStore::open(Arc::new(device.clone())).unwrap()
}

fn open_small(device: &Device, segment_bytes: u64) -> LogStore {
    let files = Arc::new(device.clone());
    LogStore::open_with(files, |w| w.with_segment_bytes(segment_bytes)).unwrap()
}

async fn entries(log: &mut LogStore) -> Vec<Entry> {
    log.try_get_log_entries(..).await.unwrap()
}

fn segments(device: &Device) -> Vec<String> {
    let mut names = device.list().unwrap();
    names.retain(|name| segment::first_of(name).is_some());
    names
}

struct Builder;

impl StoreBuilder<Types, LogStore, Machine> for Builder {
    async fn build(&self) -> Result<((), LogStore, Machine), openraft::StorageError<Types>> {
        let files: Arc<dyn Files> = Arc::new(Device::default());
        let log = LogStore::open(files.clone()).unwrap();
        Ok(((), log, Machine::open(files).unwrap()))
    }
}

#[tokio::test]
async fn the_library_accepts_log_and_machine() {
    Suite::test_all(Builder).await.unwrap();
}

#[tokio::test]
async fn everything_acknowledged_survives() {
    let device = Device::default();
    let mut log = open(&device);
    log.save_vote(&openraft::Vote::new(3, 1)).await.unwrap();
    log.blocking_append((0..5).map(|n| entry(n, n)))
        .await
        .unwrap();
    log.truncate_after(Some(log_id(1, 2))).await.unwrap();
    log.blocking_append([entry(3, 33), entry(4, 44)])
        .await
        .unwrap();
    log.save_committed(Some(log_id(1, 3))).await.unwrap();
    log.purge(log_id(1, 1)).await.unwrap();
    log.close().await;
    let mut again = open(&device.crash(0, 1, 0));
    let marks = [entry(2, 2), entry(3, 33), entry(4, 44)];
    assert_eq!(entries(&mut again).await, marks);
    assert_eq!(
        again.read_vote().await.unwrap(),
        Some(openraft::Vote::new(3, 1))
    );
    assert_eq!(again.read_committed().await.unwrap(), Some(log_id(1, 3)));
    let state = again.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 1)));
    assert_eq!(state.last_log_id, Some(log_id(1, 4)));
}

#[test]
fn waiting_writes_share_one_flush() {
    let device = Device::default();
    let files: Arc<dyn Files> = Arc::new(device.clone());
    let recovered = recover(&*files).unwrap();
    let (jobs, queue) = mpsc::channel(100);
    let mut told: Vec<_> = (0..50)
        .map(|n| {
            let (tx, rx) = oneshot::channel();
            let records = vec![(Kind::Entry, json(&entry(n, n)).unwrap())];
            let job = Job::Append {
                records,
                highest: Some(n),
                done: Done::Caller(tx),
            };
            jobs.try_send(job).ok().unwrap();
            rx
        })
        .collect();
    drop(jobs);
    Writer::new(files, &recovered).run(queue);
    assert!(told.iter_mut().all(|rx| rx.try_recv().unwrap().is_ok()));
    assert_eq!(device.syncs(), 1);
}

#[tokio::test]
async fn a_torn_last_record_is_cut_off_and_nothing_else() {
    let device = Device::default();
    let mut log = open(&device);
    log.blocking_append((0..10).map(|n| entry(n, n)))
        .await
        .unwrap();
    log.close().await;
    let name = &segments(&device)[0];
    let whole = device.durable(name);
    for missing in [1, 10, 30] {
        let torn = device.crash(1000, 1, 0);
        torn.tamper(name, |bytes| bytes.truncate(whole - missing));
        let mut again = open(&torn);
        assert_eq!(
            entries(&mut again).await.len(),
            9,
            "{missing} bytes missing"
        );
        // What is written next takes the place of the torn record.
        again.blocking_append([entry(9, 99)]).await.unwrap();
        again.close().await;
        assert_eq!(entries(&mut open(&torn)).await[9], entry(9, 99));
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_refused_by_file_and_offset() {
    let device = Device::default();
    let mut log = open(&device);
    for n in 0..10 {
        log.blocking_append([entry(n, n)]).await.unwrap();
    }
    log.close().await;
    let name = &segments(&device)[0];
    let length = device.durable(name);
    let bytes = device.read(name).unwrap().unwrap();
    let (records, _) = segment::records(&bytes, 1);
    for (offset, record) in &records[..9] {
        for at in [*offset, offset + 9, offset + record.size() - 1] {
            let bad = device.crash(1000, 1, 0);
            bad.tamper(name, |bytes| bytes[at] ^= 0x40);
            let error = LogStore::open(Arc::new(bad.clone())).err().unwrap();
            let StoreError::Damaged {
                path, offset: told, ..
            } = &error
            else {
                panic!("{error}");
            };
            assert_eq!((*told, path), (*offset as u64, &device.path(name)));
            assert!(error.to_string().contains("Restore the file"), "{error}");
            assert_eq!(bad.durable(name), length, "nothing was changed");
        }
    }
}

#[tokio::test]
async fn newer_formats_are_refused() {
    let device = Device::default();
    let mut log = open(&device);
    let mut newer = entry(0, 0);
    if let openraft::EntryPayload::Normal(write) = &mut newer.payload {
        write.v = Format(7);
    }
    log.blocking_append([newer]).await.unwrap();
    log.close().await;
    let refused = LogStore::open(Arc::new(device.clone())).err().unwrap();
    assert!(
        matches!(refused, StoreError::Newer { found: 7, .. }),
        "{refused}"
    );
    device.tamper(&segments(&device)[0], |bytes| bytes[8] = 9);
    let refused = LogStore::open(Arc::new(device.clone())).err().unwrap();
    assert!(
        matches!(refused, StoreError::Newer { found: 9, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_failed_flush_is_told_and_ends_writing() {
    let device = Device::default();
    let mut log = open(&device);
    log.blocking_append([entry(0, 0)]).await.unwrap();
    device.fail_syncs(true);
    assert!(log.blocking_append([entry(1, 1)]).await.is_err());
    device.fail_syncs(false);
    // What the failed flush left in the file is not known: nothing may be written behind it.
    assert!(log.blocking_append([entry(2, 2)]).await.is_err());
    let vote = log.save_vote(&openraft::Vote::new(1, 1)).await;
    assert_eq!(vote.unwrap_err().kind(), ErrorKind::Other);
    let mut again = open(&device.crash(0, 1, 0));
    assert_eq!(entries(&mut again).await, [entry(0, 0)]);
}

#[tokio::test]
async fn purged_segments_go_and_a_missing_one_is_noticed() {
    let device = Device::default();
    let mut log = open_small(&device, 600);
    for n in 0..40 {
        log.blocking_append([entry(n, n)]).await.unwrap();
    }
    let before = segments(&device).len();
    assert!(before > 5, "{before} segments");
    log.purge(log_id(1, 30)).await.unwrap();
    log.close().await;
    let left = segments(&device);
    assert!(left.len() < before, "{left:?}");
    let mut again = open(&device);
    assert_eq!(entries(&mut again).await.first(), Some(&entry(31, 31)));
    again.close().await;
    device.remove(&left[1]).unwrap();
    let refused = LogStore::open(Arc::new(device.clone())).err().unwrap();
    assert!(refused.to_string().contains("is missing"), "{refused}");
}

#[tokio::test]
async fn files_on_disk_behave_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let disk = || Arc::new(crate::raft::files::Disk::open(dir.path()).unwrap());
    let mut log = LogStore::open_with(disk(), |w| w.with_segment_bytes(500)).unwrap();
    for n in 0..20 {
        log.blocking_append([entry(n, n)]).await.unwrap();
    }
    log.save_vote(&openraft::Vote::new(2, 1)).await.unwrap();
    log.purge(log_id(1, 9)).await.unwrap();
    log.close().await;
    let mut again = LogStore::open(disk()).unwrap();
    assert_eq!(entries(&mut again).await.len(), 10);
    assert_eq!(
        again.read_vote().await.unwrap(),
        Some(openraft::Vote::new(2, 1))
    );
    again.close().await;
}

/// Between two crashes: what is acknowledged, and what is only written.
#[derive(Debug, Clone)]
struct Round {
    acknowledged: Vec<usize>,
    truncate: Option<u64>,
    loose: usize,
    keep: usize,
    block: usize,
    holes: u64,
}

fn round() -> impl Strategy<Value = Round> {
    (
        prop::collection::vec(1..6usize, 0..6),
        prop::option::of(0..8u64),
        0..8usize,
        0..=1000usize,
        1..300usize,
        any::<u64>(),
    )
        .prop_map(
            |(acknowledged, truncate, loose, keep, block, holes)| Round {
                acknowledged,
                truncate,
                loose,
                keep,
                block,
                holes,
            },
        )
}

/// Runs one round on the log; the entries that must be there after any crash, and those that may be.
async fn play(log: &mut LogStore, device: &Device, round: &Round) -> (Vec<Entry>, Vec<Entry>) {
    let mut mark = 1000;
    for size in &round.acknowledged {
        let next = entries(log).await.len() as u64;
        let batch: Vec<Entry> = (next..).take(*size).map(|n| entry(n, mark + n)).collect();
        mark += 100;
        log.blocking_append(batch).await.unwrap();
    }
    let last = (entries(log).await.len() as u64).checked_sub(1);
    if let (Some(back), Some(last)) = (round.truncate, last) {
        let after = last.checked_sub(back).map(|index| log_id(1, index));
        log.truncate_after(after).await.unwrap();
    }
    let must = entries(log).await;
    device.fail_syncs(true);
    let next = must.len() as u64;
    let batch: Vec<Entry> = (next..)
        .take(round.loose)
        .map(|n| entry(n, 9 + n))
        .collect();
    if !batch.is_empty() {
        assert!(log.blocking_append(batch).await.is_err());
    }
    let may = entries(log).await;
    log.close().await;
    (must, may)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn crashes_never_take_what_was_acknowledged(
        rounds in prop::collection::vec(round(), 1..5),
        segment_bytes in prop_oneof![Just(700u64), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut device = Device::default();
            for round in &rounds {
                let mut log = open_small(&device, segment_bytes);
                let (must, may) = play(&mut log, &device, round).await;
                device = device.crash(round.keep, round.block, round.holes);
                let mut again = open_small(&device, segment_bytes);
                let have = entries(&mut again).await;
                again.close().await;
                prop_assert!(have.starts_with(&must), "acknowledged entries: {} of {}", have.len(), must.len());
                prop_assert!(may.starts_with(&have), "nothing made up");
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_garbage_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0..400usize) {
        let device = Device::default();
        let name = segment::create(&device, 1).unwrap();
        device.append(&name, &bytes).unwrap();
        drop(recover(&device));
        device.tamper(&name, |all| all.truncate(at));
        drop(recover(&device));
    }
}

/// Keeps the import of the trait honest: a machine without a snapshot says so.
#[tokio::test]
async fn an_empty_machine_has_no_snapshot() {
    let mut machine = Machine::open(Arc::new(Device::default())).unwrap();
    assert!(machine.get_current_snapshot().await.unwrap().is_none());
}
