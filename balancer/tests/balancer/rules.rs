//! The rules of acknowledged cutover where only sockets and a disk can show them.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use hancock_balancer::probe::fake::FakeProber;
use hancock_balancer_core::health::ProbeResult;
use hancock_proto::ids::DocIndex;
use hancock_proto::report::Draining;
use hancock_testkit::wait::{stays_async, wait_for_async};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{PATIENCE, get};
use crate::origin::Origin;
use crate::tcp::peer::Full;
use crate::world::{WEB, World, doc, handover, id, server};

/// Of a request that is parked at `old` while `new` takes over: what is open there.
async fn parked(world: &World, old: u16, new: u16) -> Draining {
    let (servers, retiring) = (vec![server("web-2", new)], vec![server("web-1", old)]);
    world.apply(handover(2, servers, &["web-2"], retiring));
    world.until_confirmed(2).await.draining[&id("web-1")]
}

async fn request(world: &World, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.proxy).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn hit(origin: &Origin) {
    wait_for_async("the request at its origin", PATIENCE, || async {
        if origin.hits() == 1 {
            Ok(())
        } else {
            Err("not there")
        }
    })
    .await;
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut text)).await;
    read.expect("the end").unwrap();
    text
}

#[tokio::test]
async fn a_request_gets_the_view_of_the_moment_its_head_is_whole() {
    let world = World::new().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    world.apply(doc(1, vec![server("web-1", old.port())]));
    world.until_confirmed(1).await;
    let begun = format!("GET / HTTP/1.1\r\nHost: {WEB}\r\nConnection: close\r\nX: ");
    let mut stream = request(&world, &begun).await;
    let opened = "hancock_connections_open";
    crate::metrics::until(world.admin, opened, |open| open >= 1.0).await;
    let (servers, retiring) = (
        vec![server("web-2", new.port())],
        vec![server("web-1", old.port())],
    );
    world.apply(handover(2, servers, &["web-2"], retiring));
    // Half a head keeps nobody.
    world
        .until("the switch", |r| {
            r.confirmed == DocIndex(2) && r.draining.is_empty()
        })
        .await;
    old.kill().await;
    stream.write_all(b"y\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.ends_with("new"));
    world.stop().await;
}

#[tokio::test]
async fn a_view_is_kept_only_while_a_retry_is_possible() {
    for (method, path, older_phase) in [
        ("GET", "/slow", true),
        // The origin may have acted on it, so nobody else is asked.
        ("POST", "/slow", false),
        // The answer has begun.
        ("GET", "/stream", false),
    ] {
        let world = World::new().await;
        let (old, new) = (Origin::start("old").await, Origin::start("new").await);
        world.apply(doc(1, vec![server("web-1", old.port())]));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {WEB}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        let mut stream = request(&world, &head).await;
        hit(&old).await;
        if path == "/stream" {
            old.release(1);
            let mut first = [0; 12];
            timeout(PATIENCE, stream.read_exact(&mut first))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
        }
        let open = parked(&world, old.port(), new.port()).await;
        let seen = (open.requests, open.sessions, open.older_phase);
        assert_eq!(seen, (1, 0, older_phase), "{method} {path}");
        old.release(3);
        rest(&mut stream).await;
        world.until("three zeros", |r| r.draining.is_empty()).await;
        world.stop().await;
    }
}

#[tokio::test]
async fn a_request_counts_before_its_peer_has_accepted() {
    let world = World::new().await;
    let full = Full::new().await;
    let new = Origin::start("new").await;
    let mut first = doc(1, vec![server("web-1", full.port)]);
    first.proxy = serde_json::from_value(json!({"connect_timeout": 60})).unwrap();
    world.apply(first);
    world.until_confirmed(1).await;
    let head = format!("GET / HTTP/1.1\r\nHost: {WEB}\r\nConnection: close\r\n\r\n");
    let mut stream = request(&world, &head).await;
    let open = "hancock_connections_open";
    crate::metrics::until(world.admin, open, |open| open >= 1.0).await;
    wait_for_async("the request to be counted", PATIENCE, || async {
        let page = get(world.admin, "admin", "/status").await.body;
        let status: Value = serde_json::from_str(&page).unwrap();
        let peer = &status[format!("cls:{WEB}")][0][0]["hancock"];
        if peer["requests"] == 1 {
            Ok(())
        } else {
            Err(peer.to_string())
        }
    })
    .await;
    let draining = parked(&world, full.port, new.port()).await;
    assert_eq!((draining.requests, draining.older_phase), (1, true));
    // It is refused at last, and there was nobody else in its view.
    drop(full);
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 502"));
    world.until("three zeros", |r| r.draining.is_empty()).await;
    world.stop().await;
}

#[tokio::test]
async fn an_added_peer_is_shown_as_warming_until_it_passes() {
    let prober = Arc::new(FakeProber::default());
    let world = World::with_prober(prober.clone()).await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    prober.set(new.port(), ProbeResult::Failed(Some("no route".into())));
    prober.set(old.port(), ProbeResult::Ok);
    // One of two may be missing, so it is switched as soon as the other one has passed.
    let servers = vec![server("web-2", new.port()), server("web-3", old.port())];
    let mut next = handover(1, servers, &["web-2", "web-3"], vec![]);
    if let Some(member) = &mut next.hancock {
        member.max_unavailable = 1;
    }
    world.apply(next);
    world.until_confirmed(1).await;
    let shown = async |wanted: [&str; 2]| {
        wait_for_async("the verdicts", PATIENCE, || async {
            let page = get(world.admin, "admin", "/status").await.body;
            let status: Value = serde_json::from_str(&page).unwrap();
            let level = status[format!("cls:{WEB}")][0].clone();
            let seen = [&level[0], &level[1]].map(|peer| peer["status"].clone());
            if seen == wanted {
                Ok(level)
            } else {
                Err(level.to_string())
            }
        })
        .await
    };
    let level = shown(["err", "ok"]).await;
    assert_eq!(level[0]["msg"], "warming");
    for _ in 0..4 {
        assert_eq!(get(world.proxy, WEB, "/").await.body, "old");
    }
    prober.set(new.port(), ProbeResult::Ok);
    let level = shown(["ok", "ok"]).await;
    assert_ne!(level[0]["msg"], "warming");
    assert_ne!(
        get(world.proxy, WEB, "/").await.body,
        get(world.proxy, WEB, "/").await.body
    );
    world.stop().await;
}

/// A log that can be read and opened, and takes no byte more.
fn sealed_log() -> std::fs::File {
    let memory = memfd_create("last-good", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let mut file = std::fs::File::from(memory);
    file.write_all(b"hancock-last-good 1\n").unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW)).unwrap();
    file
}

#[tokio::test]
async fn what_is_not_on_disk_is_served_and_not_confirmed() {
    let (folder, log) = (tempfile::tempdir().unwrap(), sealed_log());
    let there = format!("/proc/self/fd/{}", log.as_raw_fd());
    std::os::unix::fs::symlink(there, folder.path().join("last-good.log")).unwrap();
    let world = World::start(Arc::new(folder), None).await;
    let origin = Origin::start("a").await;
    world.apply(doc(1, vec![server("web-1", origin.port())]));
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    // Longer than the pause before the writer's second try.
    stays_async("unconfirmed", Duration::from_millis(1500), async || {
        let report = world.report();
        match (report.seen, report.confirmed) {
            (DocIndex(1), DocIndex(0)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    world.stop().await;
}
