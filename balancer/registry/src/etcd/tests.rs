//! Against a real etcd: the contract every registry keeps, and what only a real one does.

mod secure;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hancock_proto::ids::Term;
use hancock_proto::upstream::UpstreamDoc;
use hancock_testkit::etcd::Etcd as Server;
use hancock_testkit::fixture::missing;
use hancock_testkit::lossy::Lossy;
use hancock_testkit::skip::{skip, test_name};

use super::*;
use crate::WatchItem;
use crate::contract::{self, Subject};

/// Whether there is an etcd to test with.
fn can_run() -> bool {
    let reason = missing("etcd");
    if let Some(reason) = &reason {
        skip(&test_name(), reason);
    }
    reason.is_none()
}

fn options(url: &str) -> Options {
    Options {
        address: url.parse().unwrap(),
        tls: None,
        timing: Timing::default(),
        seed: 0,
    }
}

fn open(url: &str) -> Etcd {
    Etcd::new(options(url))
}

fn fence(term: u64) -> Fence {
    Fence {
        cluster: "c".parse().unwrap(),
        term: Term(term),
    }
}

fn batch(name: &str, timeout: f64) -> Batch {
    let doc = UpstreamDoc {
        timeout: Some(timeout),
        ..UpstreamDoc::default()
    };
    Batch {
        app: "web".parse().unwrap(),
        changes: BTreeMap::from([(name.parse().unwrap(), Some(Arc::new(doc)))]),
    }
}

async fn put(registry: &Etcd, name: &str, timeout: f64) -> Revision {
    match registry.publish(&batch(name, timeout), &fence(1)).await {
        Ok(Outcome::Committed(revision)) => revision,
        other => panic!("{other:?}"),
    }
}

/// The next item that says more than that the store is alive. None: the watch ended.
async fn next(watch: &mut Watch) -> Option<WatchItem> {
    let telling = async {
        loop {
            match watch.recv().await {
                Some(WatchItem::Changes { changes, .. }) if changes.is_empty() => {}
                other => return other,
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), telling);
    told.await.expect("a word within 20 s")
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    if !can_run() {
        return;
    }
    let server = Arc::new(Server::start());
    let number = AtomicUsize::new(0);
    contract::suite(|| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let path = Lossy::to(server.addresses()[0]);
        let mut options = options(&format!("etcd://{}/s{number}", path.address));
        // Each answer that is lost is waited for.
        options.timing.call = Duration::from_secs(1);
        let server = server.clone();
        Subject {
            registry: Arc::new(Etcd::new(options)),
            compact: Box::new(move || server.compact()),
            lose_answer: Box::new(move |written| match written {
                true => path.lose_answers(),
                false => path.lose_requests(),
            }),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_values_are_a_slardars() {
    if !can_run() {
        return;
    }
    let server = Server::start();
    let registry = open(&server.url("edge"));
    put(&registry, "web.example", 2.0).await;
    put(&registry, ":3131", 3.0).await;
    let written = server.get("edge/upstreams/web.example");
    assert_eq!(written.as_deref(), Some(r#"{"cluster":[],"timeout":2}"#));
    assert!(server.get("edge/upstreams_stream/3131").is_some());
    let ruling = server.get("edge/hancock/fence").unwrap();
    assert_eq!(ruling, r#"{"cluster":"c","term":1}"#);

    // What others write is read in both forms, and theirs are not all of their keys.
    server.put(
        "edge/upstreams/b",
        r#"{"servers":[{"host":"a","port":"80"}]}"#,
    );
    server.put("edge/lua/b", "return");
    let listing = registry.list().await.unwrap();
    let names: Vec<&str> = listing.entries.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, [":3131", "b", "web.example"]);
    assert_eq!(listing.entries["b"].doc.cluster[0].servers[0].port, 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_document_is_told_and_is_not_absent() {
    if !can_run() {
        return;
    }
    let server = Server::start();
    let registry = open(&server.url("edge"));
    put(&registry, "web", 1.0).await;
    let listing = registry.list().await.unwrap();
    let mut watch = registry.watch_from(listing.revision).await.unwrap();
    server.put("edge/upstreams/web", "{");
    let Some(WatchItem::Damaged { name, problem }) = next(&mut watch).await else {
        panic!("the damage is told");
    };
    assert_eq!(name.as_str(), "web");
    assert!(problem.contains("no document"), "{problem}");
    let listing = registry.list().await.unwrap();
    assert!(listing.damaged.contains_key("web") && listing.entries.is_empty());
    // Its owner writes over it.
    put(&registry, "web", 2.0).await;
    assert!(registry.list().await.unwrap().damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_page_is_listed_whole() {
    if !can_run() {
        return;
    }
    let server = Server::start();
    let registry = open(&server.url("edge"));
    for batch_number in 0..20 {
        let docs = (0..60).map(|n| batch(&format!("h{batch_number}-{n}"), 1.0).changes);
        let all = Batch {
            app: "web".parse().unwrap(),
            changes: docs.flatten().collect(),
        };
        registry.publish(&all, &fence(1)).await.unwrap();
    }
    let listing = registry.list().await.unwrap();
    assert_eq!(listing.entries.len(), 1200);
    assert_eq!(listing.revision.0, server.revision());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_a_fence_is_filled_before_it_proves_anything() {
    if !can_run() {
        return;
    }
    let mut server = Server::start();
    let registry = open(&server.url("edge"));
    put(&registry, "a", 1.0).await;
    server.wipe();
    let refused = registry.publish(&batch("b", 1.0), &fence(1)).await;
    assert!(
        matches!(refused, Err(RegistryError::Wiped { .. })),
        "{refused:?}"
    );
    assert!(registry.fill(&batch("a", 1.0)).await.unwrap());
    assert_eq!(registry.list().await.unwrap().fence, None);
    assert_eq!(registry.raise(&fence(1)).await.unwrap(), None);
    assert!(
        !registry.fill(&batch("a", 2.0)).await.unwrap(),
        "it has one"
    );
    put(&registry, "b", 1.0).await;
    let listing = registry.list().await.unwrap();
    assert_eq!((listing.entries.len(), listing.fence), (2, Some(fence(1))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_write_over_an_owned_key_is_overwritten() {
    if !can_run() {
        return;
    }
    let server = Server::start();
    let registry = open(&server.url("edge"));
    put(&registry, "web", 1.0).await;
    server.put("edge/upstreams/web", r#"{"servers":[]}"#);
    put(&registry, "web", 2.0).await;
    server.delete("edge/upstreams/web");
    put(&registry, "web", 3.0).await;
    let listing = registry.list().await.unwrap();
    assert_eq!(listing.entries["web"].doc.timeout, Some(3.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_known_while_they_tell() {
    if !can_run() {
        return;
    }
    let server = Server::start();
    let mut options = options(&server.url("edge"));
    options.timing.lease = Duration::from_secs(2);
    let registry = Etcd::new(options);
    let mut told = Confirmation {
        reader: "n1".to_owned(),
        node: "n".parse().unwrap(),
        boot: "b".parse().unwrap(),
        revision: Revision(7),
        index: hancock_proto::ids::DocIndex(3),
        open: BTreeMap::new(),
        more: false,
        ended: false,
    };
    let key = "edge/hancock/readers/n1";
    registry.confirm(&told).await.unwrap();
    let there: Confirmation = serde_json::from_str(&server.get(key).unwrap()).unwrap();
    assert_eq!(there, told);
    // Told again and again it stays, longer than the lease.
    let begun = tokio::time::Instant::now();
    hancock_testkit::wait::stays_async("the reader's key", Duration::from_secs(5), async || {
        registry.confirm(&told).await.map_err(|e| e.to_string())?;
        server.get(key).map(drop).ok_or("no key".to_owned())
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(4));
    told.revision = Revision(8);
    registry.confirm(&told).await.unwrap();
    assert!(server.get(key).unwrap().contains("\"revision\":8"));
    // Silent, it goes; and it comes back with the next word.
    let gone = || match server.get(key) {
        None => Ok(()),
        Some(there) => Err(there),
    };
    hancock_testkit::wait_for("the end of the lease", Duration::from_secs(20), gone);
    assert!(registry.confirm(&told).await.is_err(), "the lease is over");
    registry.confirm(&told).await.unwrap();
    assert!(server.get(key).is_some());
    server.put("edge/hancock/readers/of-a-later-version", "[]");
    let known = registry.readers().await.unwrap();
    let known: Vec<_> = known.into_iter().map(|r| (r.name, r.told)).collect();
    let later = ("of-a-later-version".to_owned(), None);
    assert_eq!(known, [("n1".to_owned(), Some(told)), later]);
    registry.withdraw().await;
    let farewell: Confirmation = serde_json::from_str(&server.get(key).unwrap()).unwrap();
    assert!(farewell.ended);
    hancock_testkit::wait_for("the end of its lease", Duration::from_secs(20), gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_readers_than_a_page_are_all_known() {
    if !can_run() {
        return;
    }
    let server = Server::start();
    let registry = open(&server.url("edge"));
    for n in 0..130 {
        server.put(&format!("edge/hancock/readers/r{n:03}"), "{}");
    }
    server.put("edge/hancock/readers0", "{}");
    let known = registry.readers().await.unwrap();
    let names: Vec<_> = known.iter().map(|reader| reader.name.as_str()).collect();
    assert_eq!(names.len(), 130);
    assert_eq!((names[0], names[129]), ("r000", "r129"));
}
