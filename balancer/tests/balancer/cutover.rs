//! Changing what is served while it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hancock_balancer::probe::fake::FakeProber;
use hancock_balancer_core::health::ProbeResult;
use hancock_proto::app::CheckKind;
use hancock_proto::ids::DocIndex;
use hancock_testkit::wait::wait_for_async;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::{Client, PATIENCE, get};
use crate::origin::Origin;
use crate::world::{WEB, World, doc, handover, id, judged, server};

/// Requests one after the other until told to stop; every second client on fresh connections.
async fn load(
    world: &World,
    stop: &Arc<AtomicBool>,
    done: &Arc<AtomicU64>,
) -> JoinSet<Result<(), String>> {
    let mut clients = JoinSet::new();
    for n in 0..4 {
        let (stop, done, proxy) = (stop.clone(), done.clone(), world.proxy);
        clients.spawn(async move {
            let mut client = Client::connect(proxy, WEB).await;
            while !stop.load(Ordering::Relaxed) {
                if n % 2 == 0 {
                    client = Client::connect(proxy, WEB).await;
                }
                let answer = client.get("/").await?;
                if !answer.status.is_success() {
                    return Err(format!("{answer:?}"));
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    clients
}

async fn more(done: &AtomicU64, by: u64) {
    let from = done.load(Ordering::Relaxed);
    wait_for_async("more requests", PATIENCE, || async {
        let now = done.load(Ordering::Relaxed);
        if now >= from + by {
            Ok(())
        } else {
            Err(format!("{now} of {}", from + by))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_and_stops_under_load_lose_nothing() {
    let world = World::new().await;
    let mut old = Origin::start("v0").await;
    world.apply(doc(1, vec![server("web-1", old.port())]));
    world.until_confirmed(1).await;
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = load(&world, &stop, &done).await;
    for round in 1..=8u64 {
        more(&done, 50).await;
        let new = Origin::start(&format!("v{round}")).await;
        let (leaving, coming) = (format!("web-{round}"), format!("web-{}", round + 1));
        let servers = vec![server(&coming, new.port())];
        world.apply(handover(
            round * 2,
            servers.clone(),
            &[&coming],
            vec![server(&leaving, old.port())],
        ));
        let report = world
            .until("the switch, drained", |r| {
                r.confirmed == DocIndex(round * 2) && r.draining.is_empty()
            })
            .await;
        assert!(report.refused.is_none());
        old.kill().await;
        world.apply(doc(round * 2 + 1, servers));
        old = new;
    }
    more(&done, 50).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap().unwrap();
    }
    world.stop().await;
}

#[tokio::test]
async fn an_added_peer_that_never_passes_is_refused_and_the_old_set_stays() {
    let prober = Arc::new(FakeProber::default());
    let world = World::with_prober(prober.clone()).await;
    let old = Origin::start("old").await;
    world.apply(doc(1, vec![server("web-1", old.port())]));
    world.until_confirmed(1).await;
    let new = Origin::start("new").await;
    prober.set(new.port(), ProbeResult::Failed(Some("no route".into())));
    let mut next = handover(
        2,
        vec![server("web-2", new.port())],
        &["web-2"],
        vec![server("web-1", old.port())],
    );
    if let Some(member) = &mut next.hancock {
        member.accept_timeout_ms = 100;
    }
    world.apply(next.clone());
    let report = world.until("the refusal", |r| r.refused.is_some()).await;
    let refusal = report.refused.expect("just seen");
    assert_eq!(
        (refusal.index, refusal.peer, refusal.reason.as_str()),
        (DocIndex(2), id("web-2"), "no route")
    );
    assert_eq!((report.seen, report.confirmed), (DocIndex(2), DocIndex(1)));
    assert_eq!(get(world.proxy, WEB, "/").await.body, "old");
    assert_eq!(new.hits(), 0);
    // The next document passes, once its probe does.
    prober.set(new.port(), ProbeResult::Ok);
    if let Some(member) = &mut next.hancock {
        member.index = DocIndex(3);
    }
    world.apply(next);
    let report = world.until_confirmed(3).await;
    assert_eq!((report.refused, report.draining.len()), (None, 0));
    assert_eq!(get(world.proxy, WEB, "/").await.body, "new");
    world.stop().await;
}

#[tokio::test]
async fn a_slow_request_keeps_its_peer_undrained_until_it_ends() {
    let world = World::new().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    world.apply(doc(1, vec![server("web-1", old.port())]));
    let proxy = world.proxy;
    let slow = tokio::spawn(async move { get(proxy, WEB, "/slow").await });
    wait_for_async("the slow request at its origin", PATIENCE, || async {
        if old.hits() == 1 {
            Ok(())
        } else {
            Err("not there")
        }
    })
    .await;
    world.apply(handover(
        2,
        vec![server("web-2", new.port())],
        &["web-2"],
        vec![server("web-1", old.port())],
    ));
    let report = world.until_confirmed(2).await;
    let draining = report.draining[&id("web-1")];
    assert_eq!((draining.requests, draining.sessions), (1, 0));
    let mut changed = world.handle.changed();
    changed.borrow_and_update();
    old.release(1);
    assert_eq!(slow.await.unwrap().body, "old");
    tokio::time::timeout(PATIENCE, changed.changed())
        .await
        .expect("a drained peer is told")
        .unwrap();
    world.until("three zeros", |r| r.draining.is_empty()).await;
    world.stop().await;
}

#[tokio::test]
async fn a_peer_that_is_simply_gone_from_the_document_drains_too() {
    let world = World::new().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    world.apply(doc(1, vec![server("web-1", old.port())]));
    let proxy = world.proxy;
    let slow = tokio::spawn(async move { get(proxy, WEB, "/slow").await });
    wait_for_async("the slow request at its origin", PATIENCE, || async {
        if old.hits() == 1 {
            Ok(())
        } else {
            Err("not there")
        }
    })
    .await;
    world.apply(doc(2, vec![server("web-2", new.port())]));
    assert_eq!(
        world.until_confirmed(2).await.draining[&id("web-1")].requests,
        1
    );
    // Back before it was drained: nobody's on the way out any more.
    world.apply(doc(3, vec![server("web-1", old.port())]));
    world
        .until("web-1 served again", |r| {
            r.confirmed == DocIndex(3) && r.draining.is_empty()
        })
        .await;
    world.apply(doc(4, vec![server("web-2", new.port())]));
    let report = world.until_confirmed(4).await;
    assert_eq!(
        report.draining[&id("web-1")].requests,
        1,
        "the same request"
    );
    old.release(1);
    assert_eq!(slow.await.unwrap().body, "old");
    world.until("three zeros", |r| r.draining.is_empty()).await;
    world.stop().await;
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: web.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Reads until `wanted` is there.
async fn read_until(stream: &mut TcpStream, wanted: &str) {
    let mut text = String::new();
    while !text.contains(wanted) {
        let mut got = [0; 1024];
        let length = tokio::time::timeout(PATIENCE, stream.read(&mut got))
            .await
            .expect("in time")
            .unwrap();
        assert!(length > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&got[..length]));
    }
}

#[tokio::test]
async fn an_upgraded_stream_counts_as_a_session_and_survives_the_switch() {
    let world = World::new().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    world.apply(doc(1, vec![server("web-1", old.port())]));
    let mut stream = TcpStream::connect(world.proxy).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    read_until(&mut stream, "101").await;
    stream.write_all(b"ping").await.unwrap();
    read_until(&mut stream, "ping").await;
    world.apply(handover(
        2,
        vec![server("web-2", new.port())],
        &["web-2"],
        vec![server("web-1", old.port())],
    ));
    let report = world
        .until("the session alone", |r| {
            r.confirmed == DocIndex(2) && !r.draining[&id("web-1")].older_phase
        })
        .await;
    let draining = report.draining[&id("web-1")];
    assert_eq!((draining.requests, draining.sessions), (0, 1));
    stream.write_all(b"pong").await.unwrap();
    read_until(&mut stream, "pong").await;
    assert_eq!(get(world.proxy, WEB, "/").await.body, "new");
    drop(stream);
    world
        .until("the end of the session", |r| r.draining.is_empty())
        .await;
    world.stop().await;
}

#[tokio::test]
async fn stopping_an_app_drains_and_deleting_forgets() {
    let world = World::new().await;
    let origin = Origin::start("a").await;
    let peer = server("web-1", origin.port());
    world.apply(doc(1, vec![peer.clone()]));
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    world.apply(handover(2, vec![], &[], vec![peer]));
    let report = world
        .until("drained", |r| {
            r.confirmed == DocIndex(2) && r.draining.is_empty()
        })
        .await;
    assert_eq!(report.seen, DocIndex(2));
    assert_eq!(get(world.proxy, WEB, "/").await.reason(), "no_peer");
    assert_eq!(world.handle.names(), [WEB]);
    world.handle.apply(WEB, None).unwrap();
    assert_eq!(get(world.proxy, WEB, "/").await.reason(), "unknown_host");
    wait_for_async("nothing left to report", PATIENCE, || async {
        let left = world.handle.services();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn readiness_rises_and_falls_and_feeds_routing() {
    let world = World::new().await;
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let (port, other) = (a.port(), b.port());
    let judged = |port| judged(port, CheckKind::Http, 2, 2);
    world
        .handle
        .watch_local([(id("web-1"), judged(port)), (id("web-2"), judged(other))].into());
    let ready = async |name: &str, wanted: bool| {
        wait_for_async("readiness", PATIENCE, || async {
            match world.handle.readiness().get(&id(name)) {
                Some(c) if c.value == wanted => Ok(c.clone()),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await
    };
    ready("web-1", true).await;
    ready("web-2", true).await;
    world.apply(doc(1, vec![server("web-1", port), server("web-2", other)]));
    a.kill().await;
    let condition = ready("web-1", false).await;
    assert_eq!(condition.reason, "connection refused");
    for _ in 0..4 {
        assert_eq!(get(world.proxy, WEB, "/").await.body, "b");
    }
    world.handle.watch_local([].into());
    assert!(world.handle.readiness().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn what_is_ready_here_need_not_be_probed_again() {
    let prober = Arc::new(FakeProber::default());
    let world = World::with_prober(prober.clone()).await;
    let origin = Origin::start("a").await;
    prober.set(origin.port(), ProbeResult::Ok);
    world
        .handle
        .watch_local([(id("web-1"), judged(origin.port(), CheckKind::Tcp, 1, 1))].into());
    wait_for_async("readiness", PATIENCE, || async {
        if world.handle.readiness().is_empty() {
            Err("none")
        } else {
            Ok(())
        }
    })
    .await;
    let started = std::time::Instant::now();
    world.apply(handover(
        1,
        vec![server("web-1", origin.port())],
        &["web-1"],
        vec![],
    ));
    world.until_confirmed(1).await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    world.stop().await;
}
