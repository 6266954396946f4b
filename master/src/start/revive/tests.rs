use std::time::Duration;

use hancock_master_core::Command;
use hancock_proto::ids::{ClusterId, Term};
use hancock_proto::time::Timestamp;

use super::*;
use crate::raft::{Raft, Seat};
use crate::start::seat::Stored;

const SOON: Duration = Duration::from_secs(10);

fn member(name: &str) -> Member {
    Member {
        name: name.to_owned(),
        ..Member::default()
    }
}

fn seat(stored: &Stored, name: &str) -> Seat {
    Seat {
        id: stored.id,
        founder: stored.founder && !stored.begun,
        credentials: None,
        ..Seat::alone(stored.cluster.clone(), name)
    }
}

/// Starts the master of `folder`, has it write, and stops it; its state, and the term it led.
async fn run(folder: &Path, commands: Vec<Command>) -> (hancock_master_core::State, Term) {
    let mut stored = seat::load(folder).unwrap();
    let raft = Raft::start(&folder.join(RAFT), seat(&stored, "m1")).await;
    let raft = raft.unwrap();
    stored.begin(folder).unwrap();
    for command in commands {
        raft.propose(command, SOON).await.unwrap();
    }
    let state = raft.read(SOON).await.unwrap().state().clone();
    let term = raft.leadership().borrow().term;
    raft.shutdown(SOON).await;
    (state, term)
}

fn begin(cluster: &ClusterId) -> Vec<Command> {
    let cluster = cluster.clone();
    let at = Timestamp(1);
    let started = Command::TermStarted {
        term: Term(1),
        leader: "m1".to_owned(),
        at,
    };
    vec![Command::Init { cluster, at }, started]
}

fn backup(state: &hancock_master_core::State, credentials: Option<&Credentials>) -> Backup {
    let head = crate::backup::Head {
        cluster: state.cluster.clone().unwrap(),
        index: state.applied,
        term: state.term,
        at: Timestamp(9),
        version: "0".to_owned(),
    };
    let pieces = crate::backup::pieces(&head, &Applied::of(state.clone()), credentials).unwrap();
    Backup::parse(&pieces.collect::<Vec<_>>().concat())
        .ok()
        .unwrap()
}

#[tokio::test]
async fn a_restored_master_leads_the_same_cluster_beyond_every_term() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("1"), dir.path().join("2"));
    let founded = seat::found(&first, true, Timestamp(0)).unwrap();
    let (state, term) = run(&first, begin(&founded.cluster)).await;
    let saved = backup(&state, Some(&founded.credentials));
    let taken = restore_cluster(&first, saved, member("m1"), false);
    let taken = taken.err().unwrap().to_string();
    assert!(taken.contains("belongs to a cluster already"), "{taken}");
    let saved = backup(&state, Some(&founded.credentials));
    let revived = restore_cluster(&second, saved, member("m1"), false).unwrap();
    assert_eq!(revived.cluster, founded.cluster);
    assert!(revived.drawn.is_none());
    let stored = seat::load(&second).unwrap();
    assert!(stored.credentials == founded.credentials);
    assert_ne!(stored.id, founded.id);
    let (restored, leads) = run(&second, Vec::new()).await;
    assert!(leads.0 > term.0 + LEAP, "{leads} after {term}");
    assert!(restored.applied.0 >= state.applied.0 + LEAP);
    assert_eq!(restored.cluster, state.cluster);
    // Once more, from what that one wrote.
    let (again, higher) = run(&second, Vec::new()).await;
    assert!(higher > leads);
    assert_eq!(again.leader, restored.leader);
}

#[tokio::test]
async fn a_copy_is_a_cluster_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("1"), dir.path().join("2"));
    let founded = seat::found(&first, true, Timestamp(0)).unwrap();
    let (state, _) = run(&first, begin(&founded.cluster)).await;
    let saved = backup(&state, Some(&founded.credentials));
    let revived = restore_cluster(&second, saved, member("m1"), true).unwrap();
    assert_ne!(revived.cluster, founded.cluster);
    assert!(revived.drawn.unwrap() != founded.credentials);
    let (copy, _) = run(&second, Vec::new()).await;
    assert_eq!(copy.cluster, Some(revived.cluster));
}

#[tokio::test]
async fn a_survivor_goes_on_alone_with_everything_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let founded = seat::found(dir.path(), true, Timestamp(0)).unwrap();
    let (state, term) = run(dir.path(), begin(&founded.cluster)).await;
    let survivor = Survivor::read(dir.path()).unwrap();
    assert_eq!(survivor.cluster(), &founded.cluster);
    assert!(survivor.index() >= state.applied && survivor.votes());
    assert_eq!(survivor.others(), Vec::new());
    let former = survivor.become_only_master(dir.path(), member("m1"));
    let former = former.unwrap();
    assert!(former.join("vote").exists(), "{former:?}");
    let stored = seat::load(dir.path()).unwrap();
    assert_ne!(stored.id, founded.id);
    let (after, leads) = run(dir.path(), Vec::new()).await;
    assert!(leads.0 > term.0 + LEAP);
    assert_eq!((after.cluster, after.clock), (state.cluster, state.clock));
}
