//! Dying origins, restarts, broken documents.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::DocIndex;
use hancock_testkit::wait::wait_for_async;
use hyper::StatusCode;

use crate::client::{Client, PATIENCE, get, send};
use crate::origin::Origin;
use crate::world::{WEB, World, doc, id, plain, server};

#[tokio::test]
async fn a_killed_peer_costs_nothing_but_what_was_open_on_it() {
    let world = World::new().await;
    let (a, b, c) = (
        Origin::start("a").await,
        Origin::start("b").await,
        Origin::start("c").await,
    );
    world.apply(doc(
        1,
        vec![
            server("web-1", a.port()),
            server("web-2", b.port()),
            server("web-3", c.port()),
        ],
    ));
    let mut client = Client::connect(world.proxy, WEB).await;
    for _ in 0..9 {
        assert_eq!(client.get("/").await.unwrap().status, StatusCode::OK);
    }
    let proxy = world.proxy;
    let open = tokio::spawn(async move { send(proxy, WEB, "POST", "/slow", "x").await });
    wait_for_async("the open request", PATIENCE, || async {
        if a.hits() + b.hits() + c.hits() == 10 {
            Ok(())
        } else {
            Err("not there")
        }
    })
    .await;
    let hit = [a.hits(), b.hits(), c.hits()]
        .iter()
        .position(|h| *h == 4)
        .unwrap();
    let mut origins = vec![a, b, c];
    let dead = origins.remove(hit);
    dead.kill().await;
    // It may have acted already: never repeated.
    let answer = open.await.unwrap();
    assert_eq!(
        (answer.status, answer.reason()),
        (StatusCode::BAD_GATEWAY, "lost")
    );
    for n in 0..40 {
        let method = if n % 2 == 0 { "GET" } else { "POST" };
        let answer = client.send(method, "/", "body").await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "request {n}: {answer:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_request_lost_on_its_way_is_repeated_when_it_does_no_harm() {
    let world = World::new().await;
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    world.apply(doc(
        1,
        vec![server("web-1", a.port()), server("web-2", b.port())],
    ));
    let proxy = world.proxy;
    let open = tokio::spawn(async move { get(proxy, WEB, "/slow").await });
    wait_for_async("the open request", PATIENCE, || async {
        if a.hits() + b.hits() == 1 {
            Ok(())
        } else {
            Err("not there")
        }
    })
    .await;
    let (dead, left) = if a.hits() == 1 { (a, b) } else { (b, a) };
    left.release(1);
    dead.kill().await;
    assert_eq!(open.await.unwrap().status, StatusCode::OK);
    world.stop().await;
}

#[tokio::test]
async fn an_origins_502_is_tried_elsewhere_once_and_then_passed_on() {
    let world = World::new().await;
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    world.apply(doc(
        1,
        vec![server("web-1", a.port()), server("web-2", b.port())],
    ));
    let answer = get(world.proxy, WEB, "/502").await;
    assert_eq!(
        (answer.status, answer.reason()),
        (StatusCode::BAD_GATEWAY, "")
    );
    assert!(
        answer.body.starts_with("bad "),
        "the origin's own body: {answer:?}"
    );
    assert_eq!((a.hits(), b.hits()), (1, 1));
    let posted = send(world.proxy, WEB, "POST", "/502", "x").await;
    assert!(posted.body.starts_with("bad "));
    assert_eq!(a.hits() + b.hits(), 3);
    world.stop().await;
}

#[tokio::test]
async fn nobody_there_is_a_502_that_says_so() {
    let world = World::new().await;
    let origin = Origin::start("a").await;
    let port = origin.port();
    origin.kill().await;
    world.apply(doc(1, vec![server("web-1", port)]));
    for _ in 0..2 {
        let answer = get(world.proxy, WEB, "/").await;
        assert_eq!(
            (answer.status, answer.reason()),
            (StatusCode::BAD_GATEWAY, "refused")
        );
    }
    let origin = Origin::start("b").await;
    world.apply(plain(serde_json::json!({"cluster": [{"servers": [{"host": "127.0.0.1", "port": origin.port()}]}]})));
    let dropped = send(world.proxy, WEB, "POST", "/drop", "x").await;
    assert_eq!(
        (dropped.status, dropped.reason()),
        (StatusCode::BAD_GATEWAY, "lost")
    );
    world.stop().await;
}

#[tokio::test]
async fn a_restart_serves_what_was_last_known_good_even_with_a_torn_tail() {
    let world = World::new().await;
    let origin = Origin::start("a").await;
    world.apply(doc(7, vec![server("web-1", origin.port())]));
    world.until_confirmed(7).await;
    let folder = world.stop().await;
    let path = folder.path().join("last-good.log");
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(b"1234abcd {\"name\":\"web.example\",\"doc\":nul")
        .unwrap();
    let world = World::start(folder, None).await;
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    let report = world.report();
    assert_eq!((report.seen, report.confirmed), (DocIndex(7), DocIndex(7)));
    // An older index from whatever path changes nothing.
    world.apply(doc(6, vec![]));
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    world.stop().await;
}

#[tokio::test]
async fn a_broken_document_never_replaces_a_good_one() {
    let world = World::new().await;
    let origin = Origin::start("a").await;
    world.apply(doc(1, vec![server("web-1", origin.port())]));
    let broken = doc(2, vec![server("web-1", 0)]);
    let error = world
        .handle
        .apply(WEB, Some(Arc::new(broken)))
        .unwrap_err()
        .to_string();
    assert!(error.contains("cluster[0].servers[0].port"), "{error}");
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    // Its master hears of it, and of whom it is about.
    let report = world.report();
    assert_eq!((report.seen, report.confirmed), (DocIndex(2), DocIndex(1)));
    let refusal = report.refused.unwrap();
    assert_eq!((refusal.index, refusal.peer), (DocIndex(2), id("web-1")));
    assert!(
        refusal.reason.contains("servers[0].port"),
        "{}",
        refusal.reason
    );
    world.apply(doc(3, vec![server("web-1", origin.port())]));
    assert_eq!(world.until_confirmed(3).await.refused, None);
    world.stop().await;
}

#[tokio::test]
async fn stopping_lets_open_requests_finish() {
    let world = World::new().await;
    let origin = Origin::start("a").await;
    world.apply(doc(1, vec![server("web-1", origin.port())]));
    let proxy = world.proxy;
    let open = tokio::spawn(async move { get(proxy, WEB, "/slow").await });
    wait_for_async("the open request", PATIENCE, || async {
        if origin.hits() == 1 {
            Ok(())
        } else {
            Err("not there")
        }
    })
    .await;
    let stopping = tokio::spawn(world.balancer.shutdown(Duration::from_secs(10)));
    wait_for_async("no more accepting", PATIENCE, || async {
        match tokio::net::TcpStream::connect(proxy).await {
            Ok(_) => Err("still accepting"),
            Err(_) => Ok(()),
        }
    })
    .await;
    origin.release(1);
    assert_eq!(open.await.unwrap().body, "a");
    tokio::time::timeout(PATIENCE, stopping)
        .await
        .expect("stopped in time")
        .unwrap();
}

/// The original asks the dead peer again and fails two requests out of three here.
#[tokio::test]
async fn a_retry_never_goes_to_the_peer_that_just_failed() {
    let world = World::new().await;
    let (dead, alive) = (Origin::start("dead").await, Origin::start("alive").await);
    let port = dead.port();
    dead.kill().await;
    let servers = serde_json::json!([
        {"host": "127.0.0.1", "port": port, "weight": 5},
        {"host": "127.0.0.1", "port": alive.port()},
    ]);
    world.apply(plain(
        serde_json::json!({"enable": false, "cluster": [{"servers": servers}]}),
    ));
    for n in 0..12 {
        let answer = get(world.proxy, WEB, "/").await;
        assert_eq!(answer.body, "alive", "request {n}: {answer:?}");
    }
    world.stop().await;
}
