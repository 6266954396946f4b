use hancock_proto::ids::Term;
use hancock_proto::registry::{Batch, Entry, Fence, Store};
use hancock_proto::upstream::{Level, Member, Server};
use proptest::prelude::*;

use super::*;

fn cluster(name: &str) -> ClusterId {
    name.parse().unwrap()
}

fn fence(name: &str, term: u64) -> Fence {
    Fence {
        cluster: cluster(name),
        term: Term(term),
    }
}

fn doc(index: u64, port: u16) -> Arc<UpstreamDoc> {
    Arc::new(UpstreamDoc {
        cluster: vec![Level {
            servers: vec![Server {
                host: "127.0.0.1".into(),
                port,
                ..Server::default()
            }],
            ..Level::default()
        }],
        hancock: (index > 0).then(|| Member {
            app: "web".parse().unwrap(),
            index: DocIndex(index),
            added: vec![],
            retiring: vec![],
            max_unavailable: 0,
            accept_timeout_ms: 1000,
            check: None,
            check_ports: BTreeMap::new(),
            session_drain_timeout_ms: None,
            zones: Default::default(),
        }),
        ..UpstreamDoc::default()
    })
}

fn listing(revision: u64, fence: Option<Fence>, entries: &[(&str, Arc<UpstreamDoc>)]) -> Listing {
    Listing {
        another: false,
        revision: Revision(revision),
        fence,
        entries: entries
            .iter()
            .map(|(name, doc)| {
                (
                    name.parse().unwrap(),
                    Entry {
                        revision: Revision(revision),
                        doc: doc.clone(),
                    },
                )
            })
            .collect(),
        damaged: BTreeMap::new(),
    }
}

/// Of either kind.
fn name(n: u8) -> ServiceName {
    match n % 2 {
        0 => ServiceName::http(&n.to_string()).unwrap(),
        _ => ServiceName::tcp(n.into()),
    }
}

fn change(revision: u64, name: &str, doc: Option<Arc<UpstreamDoc>>) -> Change {
    Change {
        revision: Revision(revision),
        name: name.parse().unwrap(),
        doc,
    }
}

fn names(applied: &[Apply]) -> Vec<(&str, bool)> {
    applied
        .iter()
        .map(|a| (a.name.as_str(), a.doc.is_some()))
        .collect()
}

#[test]
fn a_list_of_the_same_cluster_that_is_not_behind_removes() {
    let mut w = Watcher::new();
    assert_eq!(w.revision(), None);
    w.list(&listing(
        5,
        Some(fence("c", 1)),
        &[("a", doc(1, 1)), ("b", doc(2, 2))],
    ));
    let out = w.list(&listing(6, Some(fence("c", 2)), &[("b", doc(2, 2))]));
    assert_eq!(names(&out), [("a", false)]);
    assert_eq!(w.revision(), Some(Revision(6)));
}

/// A crash in between must not leave a removed name behind a confirmed one.
#[test]
fn removals_of_a_write_come_before_its_documents() {
    let mut w = Watcher::new();
    let both = [("a", doc(1, 1)), ("z", doc(1, 1))];
    w.list(&listing(1, Some(fence("c", 1)), &both));
    let out = w.changes(
        Revision(2),
        &[change(2, "a", Some(doc(2, 2))), change(2, "z", None)],
    );
    assert_eq!(names(&out), [("z", false), ("a", true)]);
    let mut w = Watcher::new();
    w.list(&listing(1, Some(fence("c", 1)), &both));
    let out = w.list(&listing(2, Some(fence("c", 1)), &[("a", doc(2, 2))]));
    assert_eq!(names(&out), [("z", false), ("a", true)]);
}

#[test]
fn absence_without_proof_orphans() {
    let base = || {
        let mut w = Watcher::new();
        w.list(&listing(5, Some(fence("c", 1)), &[("a", doc(1, 1))]));
        w
    };
    let lists = [
        listing(6, None, &[]),                    // wiped: no fence
        listing(6, Some(fence("other", 9)), &[]), // another cluster
        listing(4, Some(fence("c", 1)), &[]),     // behind
    ];
    for list in lists {
        let mut w = base();
        assert!(w.list(&list).is_empty(), "{list:?}");
        assert_eq!(w.orphaned().collect::<Vec<_>>(), ["a"]);
    }
}

#[test]
fn a_wiped_store_half_republished_removes_nothing() {
    let mut w = Watcher::new();
    w.list(&listing(
        50,
        Some(fence("c", 1)),
        &[("a", doc(1, 1)), ("b", doc(2, 2))],
    ));
    assert!(w.list(&listing(0, None, &[])).is_empty());
    assert_eq!(w.revision(), Some(Revision(0)));
    // The leader republishes app by app; a list in between has the fence but not everything.
    assert!(
        w.list(&listing(1, Some(fence("c", 2)), &[("a", doc(1, 1))]))
            .is_empty()
    );
    assert_eq!(w.orphaned().collect::<Vec<_>>(), ["b"]);
    assert!(
        w.changes(Revision(2), &[change(2, "b", Some(doc(2, 2)))])
            .is_empty()
    );
    assert_eq!(w.orphaned().count(), 0);
}

#[test]
fn a_delete_event_removes_also_an_orphan() {
    let mut w = Watcher::new();
    w.list(&listing(5, Some(fence("c", 1)), &[("a", doc(1, 1))]));
    w.list(&listing(6, None, &[]));
    let out = w.changes(Revision(7), &[change(7, "a", None)]);
    assert_eq!(names(&out), [("a", false)]);
    assert!(w.changes(Revision(8), &[change(8, "a", None)]).is_empty());
}

#[test]
fn equal_data_and_lower_indexes_change_nothing() {
    let mut w = Watcher::new();
    w.list(&listing(5, Some(fence("c", 1)), &[("a", doc(7, 1))]));
    assert!(
        w.changes(Revision(6), &[change(6, "a", Some(doc(7, 1)))])
            .is_empty()
    );
    assert!(
        w.changes(Revision(7), &[change(7, "a", Some(doc(6, 9)))])
            .is_empty()
    );
    assert_eq!(
        w.changes(Revision(8), &[change(8, "a", Some(doc(8, 9)))])
            .len(),
        1
    );
    // The other path is behind by revision and ahead by index.
    let out = w.list(&listing(2, Some(fence("c", 1)), &[("a", doc(9, 3))]));
    assert_eq!(names(&out), [("a", true)]);
}

#[test]
fn a_late_document_does_not_bring_a_deleted_service_back() {
    let mut w = Watcher::new();
    w.list(&listing(5, Some(fence("c", 1)), &[("a", doc(7, 1))]));
    w.changes(Revision(6), &[change(6, "a", None)]);
    assert!(
        w.list(&listing(4, Some(fence("c", 1)), &[("a", doc(7, 1))]))
            .is_empty()
    );
    w.list(&listing(6, Some(fence("c", 1)), &[]));
    // Written again after the delete: it is back.
    assert_eq!(
        w.changes(Revision(7), &[change(7, "a", Some(doc(7, 1)))])
            .len(),
        1
    );
}

#[test]
fn what_came_before_any_fence_was_seen_is_not_proven_gone() {
    let mut w = Watcher::new();
    w.list(&listing(0, None, &[]));
    w.changes(Revision(1), &[change(1, "a", Some(doc(1, 1)))]);
    assert!(w.list(&listing(2, Some(fence("c", 1)), &[])).is_empty());
    assert_eq!(w.orphaned().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn names_of_an_earlier_run_go_only_with_proof() {
    let names_then = || ["gone", "a"].map(|n| n.parse().unwrap());
    let list = listing(9, Some(fence("c", 3)), &[("a", doc(1, 1))]);
    let mut known = Watcher::new();
    known.adopt(Some(cluster("c")), Some(Revision(8)), names_then());
    assert_eq!(names(&known.list(&list)), [("gone", false), ("a", true)]);
    let mut unknown = Watcher::new();
    unknown.adopt(None, None, names_then());
    assert_eq!(names(&unknown.list(&list)), [("a", true)]);
    assert_eq!(unknown.orphaned().collect::<Vec<_>>(), ["gone"]);
}

#[test]
fn plain_documents_follow_the_order_of_revisions() {
    let mut w = Watcher::new();
    w.list(&listing(5, Some(fence("c", 1)), &[("a", doc(0, 1))]));
    assert_eq!(
        w.changes(Revision(6), &[change(6, "a", Some(doc(0, 2)))])
            .len(),
        1
    );
    assert!(
        w.list(&listing(3, Some(fence("c", 1)), &[("a", doc(0, 1))]))
            .is_empty()
    );
}

/// What a reader does by random means: changes from where it is, or a list.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, u16),
    Delete(u8),
    ReadChanges,
    ReadList,
    Compact,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u8, 1..50u16).prop_map(|(n, p)| Step::Put(n, p)),
        (0..4u8).prop_map(Step::Delete),
        Just(Step::ReadChanges),
        Just(Step::ReadList),
        Just(Step::Compact),
    ]
}

proptest! {
    #[test]
    fn a_reader_ends_with_what_the_store_has(steps in prop::collection::vec(step(), 1..60)) {
        let (mut store, mut w) = (Store::default(), Watcher::new());
        let mut served: BTreeMap<ServiceName, Arc<UpstreamDoc>> = BTreeMap::new();
        let rule = fence("c", 1);
        // A master raises the fence before anybody reads; without one, no list proves anything.
        store.raise(&rule);
        let mut index = 0;
        let mut take = |out: Vec<Apply>| for apply in out {
            match apply.doc {
                Some(doc) => { served.insert(apply.name, doc); }
                None => { served.remove(&apply.name); }
            }
        };
        for step in steps.into_iter().chain([Step::ReadChanges]) {
            index += 1;
            match step {
                Step::Put(n, port) => {
                    let changes = BTreeMap::from([(name(n), Some(doc(index, port)))]);
                    store.publish(&Batch { app: "web".parse().unwrap(), changes }, &rule);
                }
                Step::Delete(n) => {
                    let changes = BTreeMap::from([(name(n), None)]);
                    store.publish(&Batch { app: "web".parse().unwrap(), changes }, &rule);
                }
                Step::ReadChanges => match w.revision().and_then(|at| store.changes_after(at)) {
                    Some(changes) => take(w.changes(store.revision(), &changes)),
                    None => take(w.list(&store.list())),
                },
                Step::ReadList => take(w.list(&store.list())),
                Step::Compact => store.compact(),
            }
        }
        let stored: BTreeMap<_, _> = store.list().entries.into_iter().map(|(n, e)| (n, e.doc)).collect();
        prop_assert_eq!(served, stored);
    }

    #[test]
    fn indexes_never_go_back(lists in prop::collection::vec((0..20u64, 0..20u64, any::<bool>()), 1..40)) {
        let mut w = Watcher::new();
        let mut highest = 0;
        for (revision, index, whole) in lists {
            let new = doc(index + 1, u16::try_from(revision).unwrap());
            let out = if whole {
                w.list(&listing(revision, Some(fence("c", 1)), &[("a", new)]))
            } else {
                w.changes(Revision(revision), &[change(revision, "a", Some(new))])
            };
            for apply in out {
                let index = apply.doc.unwrap().index().0;
                prop_assert!(index >= highest);
                highest = index;
            }
        }
    }
}

#[test]
fn who_catches_up_does_not_lose_what_came_back_meanwhile() {
    let mut w = Watcher::new();
    w.list(&listing(1, Some(fence("c", 1)), &[("a", doc(1, 1))]));
    let change = |revision, doc| Change {
        revision: Revision(revision),
        name: "a".parse().unwrap(),
        doc,
    };
    let changes = [change(2, None), change(3, Some(doc(5, 1)))];
    let applied = w.changes(Revision(3), &changes);
    assert_eq!(applied.len(), 1);
    assert!(applied[0].doc.is_some(), "it did not go on the way");
}

#[test]
fn a_list_of_another_past_proves_nothing() {
    let mut w = Watcher::new();
    let two = [("a", doc(1, 1)), ("b", doc(2, 1))];
    w.list(&listing(5, Some(fence("c", 1)), &two));
    let mut set_back = listing(9, Some(fence("c", 1)), &two[..1]);
    set_back.another = true;
    assert!(w.list(&set_back).is_empty());
    assert_eq!(w.orphaned().collect::<Vec<_>>(), ["b"]);
    // The same past, later: now it is gone.
    set_back.another = false;
    let applied = w.list(&set_back);
    assert!(applied.len() == 1 && applied[0].doc.is_none());
}

#[test]
fn what_was_deleted_in_a_past_that_is_gone_may_come_back_as_it_was() {
    let mut w = Watcher::new();
    w.list(&listing(5, Some(fence("c", 1)), &[("a", doc(3, 1))]));
    let gone = Change {
        revision: Revision(6),
        name: "a".parse().unwrap(),
        doc: None,
    };
    w.changes(Revision(6), &[gone]);
    let again = [("a", doc(3, 1))];
    assert!(w.list(&listing(2, Some(fence("c", 1)), &again)).is_empty());
    let mut wiped = listing(2, Some(fence("c", 1)), &again);
    wiped.another = true;
    assert_eq!(w.list(&wiped).len(), 1);
}
