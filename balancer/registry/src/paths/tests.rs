#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use hancock_proto::ids::Term;
use hancock_proto::registry::{Entry, Fence};
use hancock_proto::upstream::{Member, UpstreamDoc};

use super::*;

/// Of what was applied.
const NOTHING: [u64; 0] = [];

fn doc(index: u64, zones: &[&str]) -> Arc<UpstreamDoc> {
    Arc::new(UpstreamDoc {
        hancock: Some(Member {
            app: "web".parse().unwrap(),
            index: DocIndex(index),
            added: vec![],
            retiring: vec![],
            max_unavailable: 0,
            accept_timeout_ms: 0,
            session_drain_timeout_ms: None,
            check: None,
            check_ports: BTreeMap::new(),
            zones: zones.iter().map(|z| z.parse().unwrap()).collect(),
        }),
        ..UpstreamDoc::default()
    })
}

fn listing(revision: u64, index: Option<u64>) -> Listing {
    let revision = Revision(revision);
    let entry = |index| Entry {
        revision,
        doc: doc(index, &[]),
    };
    Listing {
        another: false,
        damaged: Default::default(),
        revision,
        fence: Some(Fence {
            cluster: "c".parse().unwrap(),
            term: Term(1),
        }),
        entries: index
            .map(|i| ("web.test".parse().unwrap(), entry(i)))
            .into_iter()
            .collect(),
    }
}

/// What was applied: indices, 0 for a removal.
fn indices(applies: &[Apply]) -> Vec<u64> {
    applies
        .iter()
        .map(|a| a.doc.as_ref().map_or(0, |d| d.index().0))
        .collect()
}

fn delete(revision: u64) -> (Revision, Vec<Change>) {
    let revision = Revision(revision);
    let name = "web.test".parse().unwrap();
    let doc = None;
    (
        revision,
        vec![Change {
            revision,
            name,
            doc,
        }],
    )
}

#[test]
fn the_higher_index_wins_whichever_way_brings_it() {
    let mut paths = Paths::default();
    assert_eq!(indices(&paths.list(&listing(1, Some(5)))), [5]);
    assert_eq!(indices(&paths.list_outside(listing(70, Some(4)))), NOTHING);
    assert_eq!(indices(&paths.list_outside(listing(71, Some(5)))), NOTHING);
    assert_eq!(indices(&paths.list_outside(listing(72, Some(6)))), [6]);
    assert_eq!(indices(&paths.list(&listing(2, Some(6)))), NOTHING);
    assert_eq!(indices(&paths.list(&listing(3, Some(7)))), [7]);
}

#[test]
fn a_way_that_is_behind_takes_nothing_back() {
    let mut paths = Paths::default();
    paths.list(&listing(1, Some(5)));
    paths.list_outside(listing(70, Some(5)));
    // Gone by the masters' word: the other way still has it for a while.
    let (revision, changes) = delete(2);
    assert_eq!(indices(&paths.changes(revision, &changes)), [0]);
    assert_eq!(indices(&paths.list_outside(listing(71, Some(5)))), NOTHING);
    let (revision, changes) = delete(72);
    assert_eq!(indices(&paths.changes_outside(revision, changes)), NOTHING);
    // It comes again.
    assert_eq!(indices(&paths.list_outside(listing(73, Some(9)))), [9]);
}

#[test]
fn a_deletion_of_something_older_is_none() {
    let mut paths = Paths::default();
    paths.list(&listing(1, Some(5)));
    paths.list_outside(listing(70, Some(4)));
    let (revision, changes) = delete(71);
    assert_eq!(indices(&paths.changes_outside(revision, changes)), NOTHING);
}

#[test]
fn a_wiped_registry_and_a_change_of_registry_take_nothing_away() {
    let mut paths = Paths::default();
    paths.list(&listing(1, Some(5)));
    paths.list_outside(listing(70, Some(5)));
    let wiped = Listing {
        fence: None,
        ..listing(1, None)
    };
    assert_eq!(indices(&paths.list_outside(wiped)), NOTHING);
    paths.follow(BTreeSet::new());
    assert_eq!(paths.outside(), None);
    assert_eq!(indices(&paths.list_outside(listing(3, Some(6)))), [6]);
    paths.follow(BTreeSet::new());
    assert_eq!(
        indices(&paths.list(&listing(2, Some(6)))),
        [6],
        "seen twice, applied as the same"
    );
}

#[test]
fn only_the_zones_of_the_node_count() {
    let mut paths = Paths::default();
    paths.follow(BTreeSet::from(["oslo".parse().unwrap()]));
    let put = |revision, zones: &[&str]| Change {
        revision: Revision(revision),
        name: "web.test".parse().unwrap(),
        doc: Some(doc(revision, zones)),
    };
    let changes = |paths: &mut Paths, change: Change| {
        indices(&paths.changes_outside(change.revision, vec![change]))
    };
    assert_eq!(changes(&mut paths, put(1, &["bergen"])), NOTHING);
    assert_eq!(changes(&mut paths, put(2, &["bergen", "oslo"])), [2]);
    assert_eq!(changes(&mut paths, put(3, &["bergen"])), [0]);
}
