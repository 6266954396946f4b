//! One process's balancer hands over to the next one's; here both are in one process, and the test carries what goes between them.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hancock_balancer::handover::{FormerLink, Inherited, Known, SocketName};
use hancock_balancer::probe::fake::FakeProber;
use hancock_balancer::{Balancer, Handle};
use hancock_balancer_core::health::ProbeResult;
use hancock_proto::app::CheckKind;
use hancock_proto::ids::DocIndex;
use hancock_proto::report::ServiceReport;
use hancock_testkit::wait::wait_for_async;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, PATIENCE, get};
use crate::origin::Origin;
use crate::world::{WEB, doc, handover, id, judged, options, server};

const LONG: Duration = Duration::from_secs(60);

/// As it arrives in another process.
fn carried<T: Serialize + DeserializeOwned>(said: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(said).unwrap()).unwrap()
}

/// Takes over what `before` has, in the same folder.
async fn next(before: &mut Balancer, folder: &Path, prober: Arc<FakeProber>) -> Balancer {
    before.hold().await;
    let mut inherited = Inherited {
        known: carried::<Known>(&before.known()),
        former: Some(carried(&before.handle().tail())),
        ..Inherited::default()
    };
    for socket in before.sockets() {
        let copy = socket.as_fd().try_clone_to_owned().unwrap();
        inherited.sockets.add(socket.name, copy);
    }
    let mut take = |name| {
        let any = "127.0.0.1:0".parse().unwrap();
        inherited.sockets.take(name, any).unwrap()
    };
    let (http, admin) = (take(SocketName::Http), take(SocketName::Admin));
    let (mut options, ..) = options(folder);
    (options.http, options.admin, options.inherited) = (http, Some(admin), inherited);
    Balancer::start_with(options, prober).await.unwrap()
}

async fn started(folder: &Path, prober: Arc<FakeProber>) -> (Balancer, SocketAddr, SocketAddr) {
    let (options, proxy, admin) = options(folder);
    let balancer = Balancer::start_with(options, prober).await.unwrap();
    (balancer, proxy, admin)
}

fn report(handle: &Handle) -> ServiceReport {
    handle.services().remove(WEB).expect("it is reported")
}

async fn until(what: &str, handle: &Handle, wanted: impl Fn(&ServiceReport) -> bool) {
    wait_for_async(what, PATIENCE, || async {
        let report = report(handle);
        if wanted(&report) {
            Ok(())
        } else {
            Err(format!("{report:?}"))
        }
    })
    .await;
}

fn tell(former: &Handle, link: &FormerLink) {
    link.heard(carried(&former.tail()));
}

/// Until the last request of so many is under way.
async fn wait_hits(origin: &Origin, wanted: u64) {
    wait_for_async("a request under way", PATIENCE, || async {
        match origin.hits() {
            hits if hits == wanted => Ok(()),
            hits => Err(hits),
        }
    })
    .await;
}

/// Until nothing is open in either process.
async fn wait_drained(former: &Handle, link: &FormerLink, now: &Handle) {
    wait_for_async("the drain", PATIENCE, || async {
        tell(former, link);
        let draining = report(now).draining;
        match draining.is_empty() {
            true => Ok(()),
            false => Err(format!("{draining:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_and_a_drain_count_when_they_are_so_in_both() {
    let folder = tempfile::tempdir().unwrap();
    let prober = Arc::new(FakeProber::default());
    let (mut former, proxy, _) = started(folder.path(), prober.clone()).await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    prober.set(new.port(), ProbeResult::Ok);
    let before = former.handle();
    before
        .apply(
            WEB,
            Some(Arc::new(doc(1, vec![server("web-1", old.port())]))),
        )
        .unwrap();
    until("the confirmation", &before, |r| r.confirmed == DocIndex(1)).await;
    let mut kept = Client::connect(proxy, WEB).await;
    kept.get("/").await.unwrap();
    let slow = tokio::spawn(async move { get(proxy, WEB, "/slow").await });
    wait_hits(&old, 2).await;

    let mut serving = next(&mut former, folder.path(), prober).await;
    let (now, link) = (serving.handle(), serving.formers().pop().unwrap());
    assert_eq!(report(&now).confirmed, DocIndex(1), "both serve the same");
    serving.accept();
    before.relieve();
    let leaving = tokio::spawn(former.leave(LONG, LONG));
    let two = handover(
        2,
        vec![server("web-2", new.port())],
        &["web-2"],
        vec![server("web-1", old.port())],
    );
    now.apply(WEB, Some(Arc::new(two))).unwrap();
    wait_for_async("the new set", PATIENCE, || async {
        let answer = get(proxy, WEB, "/").await;
        if answer.body.starts_with("new") {
            Ok(())
        } else {
            Err(answer.body)
        }
    })
    .await;
    assert_eq!(
        report(&now).confirmed,
        DocIndex(0),
        "the former one routes by the old set"
    );

    before.follow(carried(&link.changes().await));
    tell(&before, &link);
    until("the confirmation of both", &now, |r| {
        r.confirmed == DocIndex(2)
    })
    .await;
    assert_eq!(report(&now).draining[&id("web-1")].requests, 1);
    // What comes in on a connection the former one has kept goes where it goes everywhere, and is the last there.
    let answer = kept.get("/").await.unwrap();
    assert!(answer.body.starts_with("new"), "{answer:?}");
    assert_eq!(answer.headers["connection"], "close");

    old.release(1);
    assert!(slow.await.unwrap().status.is_success());
    wait_drained(&before, &link, &now).await;
    leaving.await.unwrap();
    drop(link);
    assert_eq!(report(&now).confirmed, DocIndex(2));
    serving.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_probes_know_is_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let prober = Arc::new(FakeProber::default());
    let (mut former, ..) = started(folder.path(), prober.clone()).await;
    let (good, bad) = (Origin::start("good").await, Origin::start("bad").await);
    prober.set(good.port(), ProbeResult::Ok);
    prober.set(bad.port(), ProbeResult::Failed(Some("ill".into())));
    let instances: std::collections::BTreeMap<_, _> = [("web-1", &good), ("web-2", &bad)]
        .into_iter()
        .map(|(name, origin)| (id(name), judged(origin.port(), CheckKind::Http, 1, 1)))
        .collect();
    former.handle().watch_local(instances.clone());
    wait_for_async("verdicts", PATIENCE, || async {
        let ready = former.handle().readiness();
        if ready.len() == 2 {
            Ok(())
        } else {
            Err(format!("{ready:?}"))
        }
    })
    .await;
    let known = former.handle().readiness();
    assert!(known[&id("web-1")].value && !known[&id("web-2")].value);
    let serving = next(&mut former, folder.path(), prober).await;
    serving.handle().watch_local(instances);
    assert_eq!(serving.handle().readiness(), known);
    serving.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_goes_on_has_lost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let prober = Arc::new(FakeProber::default());
    let (mut balancer, proxy, admin) = started(folder.path(), prober.clone()).await;
    let origin = Origin::start("one").await;
    let handle = balancer.handle();
    let apply = |index| {
        let doc = doc(index, vec![server("web-1", origin.port())]);
        handle.apply(WEB, Some(Arc::new(doc))).unwrap();
    };
    apply(1);
    let given_up = next(&mut balancer, folder.path(), prober.clone()).await;
    // Requests go on meanwhile, and a switch counts when it is written down after all.
    assert!(get(proxy, WEB, "/").await.status.is_success());
    apply(2);
    assert_eq!(report(&handle).confirmed, DocIndex(1));
    given_up.leave(Duration::ZERO, Duration::ZERO).await;
    balancer.resume(None).unwrap();
    until("the confirmation", &handle, |r| r.confirmed == DocIndex(2)).await;
    assert!(get(admin, "admin", "/upstreams").await.status.is_success());
    apply(3);
    until("the confirmation", &handle, |r| r.confirmed == DocIndex(3)).await;
    balancer.shutdown(LONG).await;
    let (again, ..) = started(folder.path(), prober).await;
    assert_eq!(report(&again.handle()).confirmed, DocIndex(3));
    again.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_process_that_is_found_counts_from_what_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let prober = Arc::new(FakeProber::default());
    let (mut former, proxy, _) = started(folder.path(), prober.clone()).await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    prober.set(new.port(), ProbeResult::Ok);
    let before = former.handle();
    let at = |index, name: &str, origin: &Origin| {
        Some(Arc::new(doc(index, vec![server(name, origin.port())])))
    };
    before.apply(WEB, at(1, "web-1", &old)).unwrap();
    before.apply("gone.test", at(1, "gone-1", &old)).unwrap();
    until("the confirmation", &before, |r| r.confirmed == DocIndex(1)).await;
    let slow = tokio::spawn(async move { get(proxy, WEB, "/slow").await });
    wait_hits(&old, 1).await;

    // The next one switches, writes that down, and is gone before the former one hears of it.
    let mut middle = next(&mut former, folder.path(), prober.clone()).await;
    middle.accept();
    before.relieve();
    let leaving = tokio::spawn(former.leave(LONG, LONG));
    drop(middle.formers());
    middle.handle().apply("gone.test", None).unwrap();
    let two = handover(
        2,
        vec![server("web-2", new.port())],
        &["web-2"],
        vec![server("web-1", old.port())],
    );
    middle.handle().apply(WEB, Some(Arc::new(two))).unwrap();
    until("the next one's switch", &middle.handle(), |r| {
        r.confirmed == DocIndex(2)
    })
    .await;
    middle.shutdown(LONG).await;

    let (mut options, ..) = options(folder.path());
    options.inherited.found = vec![carried(&before.found())];
    let mut serving = Balancer::start_with(options, prober).await.unwrap();
    let (now, link) = (serving.handle(), serving.formers().pop().unwrap());
    assert_eq!(
        report(&now).confirmed,
        DocIndex(0),
        "the former one routes by the old set"
    );
    // What it says before it has followed confirms nothing.
    tell(&before, &link);
    assert_eq!(report(&now).confirmed, DocIndex(0));
    assert!(before.services().contains_key("gone.test"));
    before.follow(carried(&link.changes().await));
    tell(&before, &link);
    until("the confirmation of both", &now, |r| {
        r.confirmed == DocIndex(2)
    })
    .await;
    assert!(!before.services().contains_key("gone.test"));
    assert_eq!(report(&now).draining[&id("web-1")].requests, 1);

    old.release(1);
    assert!(slow.await.unwrap().status.is_success());
    wait_drained(&before, &link, &now).await;
    leaving.await.unwrap();
    drop(link);
    serving.shutdown(LONG).await;
}
