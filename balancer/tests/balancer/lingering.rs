//! Sessions on peers that left: they have their time, then the balancer ends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hancock_proto::upstream::UpstreamDoc;
use hancock_testkit::wait::{stays_async, wait_for_async};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{PATIENCE, get};
use crate::origin::Origin;
use crate::tcp::peer::Peer;
use crate::tcp::{TcpWorld, connect, quiet_port, rest};
use crate::world::{WEB, World, doc, handover, id, server};

/// Time sessions have after their peer left.
const LIMIT: Duration = Duration::from_millis(400);
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: web.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A small text frame as servers send it.
const HI: [u8; 4] = [0x81, 2, b'h', b'i'];
/// A close frame with status 1001.
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xE9];

/// From `old` to `new`, with a limit for sessions.
fn limited(old: u16, new: u16) -> UpstreamDoc {
    let (web1, web2) = (server("web-1", old), server("web-2", new));
    let mut next = handover(2, vec![web2], &["web-2"], vec![web1]);
    if let Some(member) = &mut next.hancock {
        member.session_drain_timeout_ms = u64::try_from(LIMIT.as_millis()).ok();
    }
    next
}

async fn upgraded(proxy: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, stream.read_u8()).await.unwrap();
        head.push(byte.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{head:?}");
    stream
}

/// Sends `bytes` and reads as many back.
async fn echo(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    let read = timeout(PATIENCE, stream.read_exact(&mut back)).await;
    read.unwrap().unwrap();
    assert_eq!(back, bytes);
}

#[tokio::test]
async fn a_websocket_is_told_that_the_server_goes_away() {
    let world = World::new().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    world.apply(doc(1, vec![server("web-1", old.port())]));
    let mut between = upgraded(world.proxy).await;
    let mut within = upgraded(world.proxy).await;
    echo(&mut between, &HI).await;
    // A frame whose payload is still to come: nothing may be put into it.
    echo(&mut within, &[0x81, 5, b'h']).await;
    let began = Instant::now();
    world.apply(limited(old.port(), new.port()));
    world.until_confirmed(2).await;
    let mut other = upgraded(world.proxy).await;
    assert_eq!(rest(&mut between).await.unwrap(), GOING_AWAY);
    assert!(began.elapsed() >= LIMIT, "{:?}", began.elapsed());
    assert!(rest(&mut within).await.unwrap().is_empty());
    let drained = world.until("three zeros", |r| r.draining.is_empty()).await;
    assert_eq!(drained.confirmed.0, 2);
    // Nobody else is concerned.
    echo(&mut other, &HI).await;
    assert_eq!(get(world.proxy, WEB, "/").await.body, "new");
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_close_is_reset_and_holds_up_nobody() {
    let world = World::new().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    world.apply(doc(1, vec![server("web-1", old.port())]));
    let mut deaf = upgraded(world.proxy).await;
    echo(&mut deaf, &HI).await;
    world.apply(limited(old.port(), new.port()));
    world
        .until("three zeros", |r| {
            r.confirmed.0 == 2 && r.draining.is_empty()
        })
        .await;
    let mut last = [0; 8];
    assert_eq!(
        timeout(PATIENCE, deaf.read(&mut last))
            .await
            .unwrap()
            .unwrap(),
        4
    );
    wait_for_async("the reset", PATIENCE * 2, || async {
        match deaf.take_error() {
            Ok(None) => Err("still open"),
            _ => Ok(()),
        }
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_tcp_session_gets_its_end_after_its_time() {
    let world = TcpWorld::new().await;
    let (old, new, port) = (Peer::echo().await, Peer::echo().await, quiet_port());
    let name = port.to_string();
    let put = |doc: UpstreamDoc| world.handle.apply_tcp(&name, Some(Arc::new(doc))).unwrap();
    put(doc(1, vec![server("web-1", old.port)]));
    let mut session = connect(port).await;
    echo(&mut session, b"one").await;
    let began = Instant::now();
    put(limited(old.port, new.port));
    let open = || world.handle.tcp_services().remove(&name).unwrap();
    wait_for_async("the switch", PATIENCE, || async {
        let report = open();
        if report.confirmed.0 == 2 {
            Ok(())
        } else {
            Err(format!("{report:?}"))
        }
    })
    .await;
    let mut other = connect(port).await;
    echo(&mut other, b"new").await;
    assert!(rest(&mut session).await.unwrap().is_empty(), "a plain end");
    assert!(began.elapsed() >= LIMIT, "{:?}", began.elapsed());
    drop(session);
    wait_for_async("the drain", PATIENCE, || async {
        let report = open();
        if report.draining.is_empty() {
            Ok(())
        } else {
            Err(format!("{report:?}"))
        }
    })
    .await;
    echo(&mut other, b"still").await;
    let metrics = get(world.admin, "admin", "/metrics").await.body;
    let line = format!("hancock_tcp_expired_total{{port=\"{port}\"}} 1");
    assert!(metrics.contains(&line), "{metrics}");
    world.stop().await;
}

/// A revert before the limit: whoever serves again keeps its sessions.
#[tokio::test]
async fn a_peer_that_is_back_keeps_its_sessions() {
    let world = TcpWorld::new().await;
    let (old, new, port) = (Peer::echo().await, Peer::echo().await, quiet_port());
    let name = port.to_string();
    let put = |doc: UpstreamDoc| world.handle.apply_tcp(&name, Some(Arc::new(doc))).unwrap();
    put(doc(1, vec![server("web-1", old.port)]));
    let mut session = connect(port).await;
    echo(&mut session, b"one").await;
    put(limited(old.port, new.port));
    wait_for_async("the switch", PATIENCE, || async {
        let report = world.handle.tcp_services().remove(&name).unwrap();
        let leaves = report.draining.contains_key(&id("web-1"));
        if leaves {
            Ok(())
        } else {
            Err(format!("{report:?}"))
        }
    })
    .await;
    put(doc(3, vec![server("web-1", old.port)]));
    stays_async("the session", LIMIT * 2, async || {
        echo(&mut session, b"two").await;
        Ok::<_, String>(())
    })
    .await;
    world.stop().await;
}
