//! What every registry must keep to, as code: run by each implementation's own tests.
//!
//! Panics with a sentence on the first thing that does not hold.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::{Revision, Term};
use hancock_proto::registry::{Batch, Change, Fence, MAX_BATCH, Outcome};
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::UpstreamDoc;

use crate::fake::{Fake, Fault};
use crate::watcher::Watcher;
use crate::{RegistryError, UpstreamRegistry, Watch, WatchItem};

/// An implementation with the levers the suite pulls.
pub struct Subject {
    /// The registry.
    pub registry: Arc<dyn UpstreamRegistry>,
    /// Forgets the past.
    pub compact: Box<dyn Fn() + Send + Sync>,
    /// Loses the answer of the next publish, which is carried out or not.
    pub lose_answer: Box<dyn Fn(bool) + Send + Sync>,
}

impl Subject {
    /// A registry whose store is a [`Fake`].
    pub fn new(registry: Arc<dyn UpstreamRegistry>, store: Fake) -> Self {
        let other = store.clone();
        Self {
            registry,
            compact: Box::new(move || store.compact()),
            lose_answer: Box::new(move |written| {
                other.inject(if written {
                    Fault::WrittenAnswerLost
                } else {
                    Fault::NothingWrittenAnswerLost
                });
            }),
        }
    }
}

/// Every case, each on a new registry.
pub async fn suite(make: impl Fn() -> Subject) {
    fence_is_raised_and_holds(&make()).await;
    former_leader_loses(&make()).await;
    batch_is_whole(&make()).await;
    unknown_is_read_back(&make()).await;
    watch_resumes_without_a_gap(&make()).await;
    compaction_is_told(&make()).await;
    deleted_is_not_absent(&make()).await;
    too_large_is_refused(&make()).await;
    a_slow_watcher_holds_up_nobody(&make()).await;
}

fn fence(cluster: &str, term: u64) -> Fence {
    Fence {
        cluster: cluster.parse().unwrap(),
        term: Term(term),
    }
}

fn doc(timeout: f64) -> Arc<UpstreamDoc> {
    Arc::new(UpstreamDoc {
        timeout: Some(timeout),
        ..UpstreamDoc::default()
    })
}

fn batch(changes: &[(&str, Option<Arc<UpstreamDoc>>)]) -> Batch {
    Batch {
        app: "web".parse().unwrap(),
        changes: changes
            .iter()
            .map(|(name, doc)| (name.parse().unwrap(), doc.clone()))
            .collect(),
    }
}

async fn put(registry: &dyn UpstreamRegistry, name: &str, value: f64, fence: &Fence) -> Outcome {
    let batch = batch(&[(name, Some(doc(value)))]);
    registry.publish(&batch, fence).await.unwrap()
}

/// The next item that says more than that the store is alive.
async fn next(watch: &mut Watch) -> WatchItem {
    loop {
        let item = tokio::time::timeout(Duration::from_secs(10), watch.recv())
            .await
            .expect("a watch item within 10 s")
            .expect("a running watch");
        if !matches!(&item, WatchItem::Changes { changes, .. } if changes.is_empty()) {
            return item;
        }
    }
}

async fn fence_is_raised_and_holds(s: &Subject) {
    let r = &*s.registry;
    assert_eq!(r.raise(&fence("c", 3)).await.unwrap(), None);
    assert_eq!(r.raise(&fence("c", 3)).await.unwrap(), None, "raised twice");
    let higher = r.raise(&fence("c", 2)).await.unwrap();
    assert_eq!(
        higher,
        Some(fence("c", 3)),
        "a lower term is told who rules"
    );
    let other = r.raise(&fence("d", 9)).await.unwrap();
    assert_eq!(other, Some(fence("c", 3)), "another cluster never rules");
    assert_eq!(r.list().await.unwrap().fence, Some(fence("c", 3)));
}

async fn former_leader_loses(s: &Subject) {
    let r = &*s.registry;
    r.raise(&fence("c", 1)).await.unwrap();
    put(r, "a", 1.0, &fence("c", 1)).await;
    r.raise(&fence("c", 2)).await.unwrap();
    let before = r.list().await.unwrap();
    let lost = Outcome::Lost(fence("c", 2));
    assert_eq!(put(r, "a", 2.0, &fence("c", 1)).await, lost, "late write");
    let delete = batch(&[("a", None)]);
    assert_eq!(r.publish(&delete, &fence("c", 1)).await.unwrap(), lost);
    assert_eq!(
        r.list().await.unwrap(),
        before,
        "a lost write changes nothing"
    );
}

async fn batch_is_whole(s: &Subject) {
    let r = &*s.registry;
    let rule = fence("c", 1);
    put(r, "old", 1.0, &rule).await;
    let mut watch = r
        .watch_from(r.list().await.unwrap().revision)
        .await
        .unwrap();
    let both = batch(&[("a", Some(doc(2.0))), ("b", Some(doc(2.0))), ("old", None)]);
    let Outcome::Committed(revision) = r.publish(&both, &rule).await.unwrap() else {
        panic!("the ruling fence writes");
    };
    let listing = r.list().await.unwrap();
    let names: Vec<_> = listing.entries.keys().map(ServiceName::as_str).collect();
    assert_eq!((names, listing.revision), (vec!["a", "b"], revision));
    let WatchItem::Changes {
        revision: at,
        changes,
    } = next(&mut watch).await
    else {
        panic!("changes of one batch");
    };
    assert_eq!((at, changes.len()), (revision, 3), "one batch, one item");
    assert!(changes.iter().all(|c| c.revision == revision));
}

async fn unknown_is_read_back(s: &Subject) {
    let r = &*s.registry;
    let rule = fence("c", 1);
    r.raise(&rule).await.unwrap();
    (s.lose_answer)(true);
    assert_eq!(put(r, "a", 1.0, &rule).await, Outcome::Unknown);
    let written = r.list().await.unwrap();
    assert_eq!(written.entries["a"].doc, doc(1.0), "written, answer lost");
    (s.lose_answer)(false);
    assert_eq!(put(r, "a", 2.0, &rule).await, Outcome::Unknown);
    assert_eq!(r.list().await.unwrap(), written, "not written, answer lost");
    assert!(matches!(
        put(r, "a", 2.0, &rule).await,
        Outcome::Committed(_)
    ));
}

async fn watch_resumes_without_a_gap(s: &Subject) {
    let r = &*s.registry;
    let rule = fence("c", 1);
    let mut seen = BTreeMap::new();
    let mut at = Revision(0);
    for round in 0..5 {
        // A new watch each round: what was written between two watches comes with the second.
        put(r, &format!("n{round}"), f64::from(round), &rule).await;
        let mut watch = r.watch_from(at).await.unwrap();
        put(r, &format!("m{round}"), f64::from(round), &rule).await;
        while at < r.list().await.unwrap().revision {
            let WatchItem::Changes { revision, changes } = next(&mut watch).await else {
                panic!("nothing was compacted");
            };
            assert!(
                changes
                    .iter()
                    .all(|c| c.revision > at && c.revision <= revision)
            );
            at = revision;
            seen.extend(changes.into_iter().map(|c| (c.name, c.revision)));
        }
    }
    assert_eq!(seen.len(), 10, "each name once");
}

async fn compaction_is_told(s: &Subject) {
    let r = &*s.registry;
    let rule = fence("c", 1);
    put(r, "a", 1.0, &rule).await;
    put(r, "b", 1.0, &rule).await;
    (s.compact)();
    let mut behind = r.watch_from(Revision(0)).await.unwrap();
    assert_eq!(next(&mut behind).await, WatchItem::Compacted);
    // Listing and watching from there goes on.
    let mut watcher = Watcher::new();
    let listing = r.list().await.unwrap();
    assert_eq!(watcher.list(&listing).len(), 2);
    let mut watch = r.watch_from(listing.revision).await.unwrap();
    put(r, "c", 1.0, &rule).await;
    let WatchItem::Changes { revision, changes } = next(&mut watch).await else {
        panic!("a watch from a listing's revision is not too old");
    };
    assert_eq!(watcher.changes(revision, &changes).len(), 1);
    // A revision of the future is of a store that is gone.
    let mut ahead = r.watch_from(Revision(1 << 40)).await.unwrap();
    assert_eq!(next(&mut ahead).await, WatchItem::Compacted);
}

async fn deleted_is_not_absent(s: &Subject) {
    let r = &*s.registry;
    let rule = fence("c", 1);
    put(r, "a", 1.0, &rule).await;
    let mut watcher = Watcher::new();
    let listing = r.list().await.unwrap();
    watcher.list(&listing);
    let mut watch = r.watch_from(listing.revision).await.unwrap();
    r.publish(&batch(&[("a", None)]), &rule).await.unwrap();
    let WatchItem::Changes { revision, changes } = next(&mut watch).await else {
        panic!("the delete");
    };
    let applied = watcher.changes(revision, &changes);
    assert!(
        applied.len() == 1 && applied[0].doc.is_none(),
        "a delete event"
    );
    assert!(r.list().await.unwrap().entries.is_empty());
    assert!(
        r.list().await.unwrap().fence.is_some(),
        "an empty store is not a wiped one"
    );
}

async fn too_large_is_refused(s: &Subject) {
    let names: Vec<String> = (0..=MAX_BATCH).map(|n| format!("n{n}")).collect();
    let changes: Vec<_> = names.iter().map(|n| (n.as_str(), Some(doc(1.0)))).collect();
    let refused = s.registry.publish(&batch(&changes), &fence("c", 1)).await;
    assert!(matches!(refused, Err(RegistryError::TooLarge { .. })));
    let largest = batch(&changes[..MAX_BATCH]);
    let written = s.registry.publish(&largest, &fence("c", 1)).await;
    assert!(matches!(written, Ok(Outcome::Committed(_))));
}

/// A document that fills what lies between a store and its readers.
fn large(value: f64) -> Arc<UpstreamDoc> {
    let filling = serde_json::Value::String("x".repeat(16 << 10));
    Arc::new(UpstreamDoc {
        timeout: Some(value),
        other: BTreeMap::from([("filling".to_owned(), filling)]),
        ..UpstreamDoc::default()
    })
}

async fn a_slow_watcher_holds_up_nobody(s: &Subject) {
    let (r, rule) = (&*s.registry, fence("c", 1));
    put(r, "a", 0.0, &rule).await;
    let at = r.list().await.unwrap().revision;
    let mut slow = r.watch_from(at).await.unwrap();
    let mut quick = r.watch_from(at).await.unwrap();
    // Far more than any window of a connection, or any queue.
    let last = 300.0;
    let (mut value, mut seen) = (0.0, 0.0);
    while value < last {
        value += 1.0;
        let batch = batch(&[("a", Some(large(value)))]);
        let written = tokio::time::timeout(Duration::from_secs(10), r.publish(&batch, &rule));
        assert!(matches!(
            written.await.expect("writes go on").unwrap(),
            Outcome::Committed(_)
        ));
    }
    while seen < last {
        let WatchItem::Changes { changes, .. } = next(&mut quick).await else {
            panic!("the quick one is told everything");
        };
        seen = newest(&changes).unwrap_or(seen);
    }
    let listed = tokio::time::timeout(Duration::from_secs(10), r.list()).await;
    assert_eq!(listed.expect("lists go on").unwrap().entries.len(), 1);
    // It gets to the same end, or is told to list.
    let mut seen = 0.0;
    while seen < last {
        match next(&mut slow).await {
            WatchItem::Changes { changes, .. } => seen = newest(&changes).unwrap_or(seen),
            WatchItem::Compacted => return,
            WatchItem::Damaged { problem, .. } => panic!("{problem}"),
        }
    }
}

fn newest(changes: &[Change]) -> Option<f64> {
    changes.last()?.doc.as_ref()?.timeout
}
