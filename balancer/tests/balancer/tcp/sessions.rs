//! Sessions: half-closed, counted, surviving, retried, ended.

use std::time::Duration;

use hancock_balancer_core::ring;
use hancock_proto::app::CheckKind;
use hancock_proto::upstream::UpstreamDoc;
use hancock_testkit::wait::wait_for_async;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::peer::{Full, Peer};
use super::{TcpWorld, connect, name_behind, plainly, quiet_port, rest};
use crate::client::PATIENCE;
use crate::framed::Framed;
use crate::world::{doc, handover, id, judged, plain, server};

async fn says(stream: &mut tokio::net::TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, text.as_bytes());
}

#[tokio::test]
async fn either_side_may_end_first() {
    let world = TcpWorld::new().await;
    let (counting, echo, port) = (Peer::counting().await, Peer::echo().await, quiet_port());
    world.put(port, &[counting.port]);
    let mut stream = connect(port).await;
    stream.write_all(b"12345").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await.unwrap(), b"5");

    let quiet = Peer::start(|mut stream| async move {
        stream.write_all(b"bye").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"still here");
    })
    .await;
    world.put(port, &[quiet.port]);
    let mut stream = connect(port).await;
    assert_eq!(rest(&mut stream).await.unwrap(), b"bye");
    stream.write_all(b"still here").await.unwrap();
    stream.shutdown().await.unwrap();
    drop(echo);
    world.stop().await;
}

#[tokio::test]
async fn a_broken_stream_is_not_taken_for_a_whole_one() {
    let world = TcpWorld::new().await;
    let port = quiet_port();
    let breaking = Peer::start(|mut stream| async move {
        stream.write_all(b"half").await.unwrap();
        stream.set_zero_linger().unwrap();
    })
    .await;
    world.put(port, &[breaking.port]);
    let mut stream = connect(port).await;
    assert!(rest(&mut stream).await.is_err());
    world.stop().await;
}

#[tokio::test]
async fn an_answer_before_the_question_was_over_arrives() {
    let world = TcpWorld::new().await;
    let port = quiet_port();
    let hasty = Peer::start(|mut stream| async move {
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.unwrap();
        // The rest is never read, so the connection is reset after the answer.
        stream.write_all(b"enough").await.unwrap();
    })
    .await;
    world.put(port, &[hasty.port]);
    let mut stream = connect(port).await;
    stream.write_all(b"once").await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"enough");
    // A large question nobody wants: it ends, one way or the other, and in time.
    let large = vec![0; 1 << 20];
    let _ = timeout(PATIENCE, async {
        let _ = stream.write_all(&large).await;
        rest(&mut stream).await
    })
    .await
    .unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_session_survives_changes_and_deletion_and_is_counted_until_its_end() {
    let world = TcpWorld::new().await;
    let (old, new, port) = (Peer::echo().await, Peer::named("new").await, quiet_port());
    let name = port.to_string();
    let first = doc(1, vec![server("web-1", old.port)]);
    world.handle.apply_tcp(&name, Some(first.into())).unwrap();
    let mut session = connect(port).await;
    says(&mut session, "one").await;
    let second = handover(
        2,
        vec![server("web-2", new.port)],
        &["web-2"],
        vec![server("web-1", old.port)],
    );
    world.handle.apply_tcp(&name, Some(second.into())).unwrap();
    wait_for_async("the switch", PATIENCE, || async {
        let answered = name_behind(port).await;
        if answered == "new" {
            Ok(())
        } else {
            Err(answered)
        }
    })
    .await;
    let open = || {
        let report = world.handle.tcp_services().remove(&name);
        report.and_then(|r| {
            r.draining
                .get(&id("web-1"))
                .map(|d| (d.requests, d.sessions))
        })
    };
    assert_eq!(open(), Some((0, 1)));
    says(&mut session, "two").await;
    world.delete(port);
    assert!(
        tokio::net::TcpStream::connect(super::at(port))
            .await
            .is_err()
    );
    says(&mut session, "three").await;
    assert_eq!(open(), Some((0, 1)));
    drop(session);
    wait_for_async("the drain", PATIENCE, || async {
        match open() {
            None | Some((0, 0)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn refusing_peers_are_passed_over() {
    let world = TcpWorld::new().await;
    let (alive, port) = (Peer::named("d").await, quiet_port());
    let dead: Vec<u16> = (0..5).map(|_| Peer::dead()).collect();
    world.put(port, &[&dead[..], &[alive.port]].concat());
    for _ in 0..12 {
        assert_eq!(name_behind(port).await, "d");
    }
    world.put(port, &dead);
    assert_eq!(name_behind(port).await, "");
    world.stop().await;
}

#[tokio::test]
async fn connections_rotate_by_weight() {
    let world = TcpWorld::new().await;
    let (a, b, c, port) = (
        Peer::named("A").await,
        Peer::named("B").await,
        Peer::named("C").await,
        quiet_port(),
    );
    let server =
        |peer: &Peer, weight| json!({"host": "127.0.0.1", "port": peer.port, "weight": weight});
    let weighted = plain(
        json!({"enable": false, "cluster": [{"servers": [server(&a, 5), server(&b, 1), server(&c, 1)]}]}),
    );
    world
        .handle
        .apply_tcp(&port.to_string(), Some(weighted.into()))
        .unwrap();
    let mut picks = String::new();
    for _ in 0..14 {
        picks += &name_behind(port).await;
    }
    assert_eq!(picks, "AABACAAAABACAA");
    world.stop().await;
}

#[tokio::test]
async fn every_hash_is_one_of_the_client() {
    let world = TcpWorld::new().await;
    let (a, b, port) = (Peer::named("a").await, Peer::named("b").await, quiet_port());
    let texts = [
        format!("127.0.0.1:{}", a.port),
        format!("127.0.0.1:{}", b.port),
    ];
    let ring = ring::Ring::new(texts.iter().map(|t| (t.as_str(), 1.0)));
    let wanted = ring.find(ring::hash(b"127.0.0.1"), |_| true).unwrap();
    for mode in ["ip_hash", "hash", "url_hash", "header_hash", "whatever"] {
        let mut hashed = (*plainly(&[a.port, b.port])).clone();
        hashed.mode = Some(mode.to_owned());
        world
            .handle
            .apply_tcp(&port.to_string(), Some(hashed.into()))
            .unwrap();
        for _ in 0..3 {
            assert_eq!(name_behind(port).await, ["a", "b"][wanted], "{mode}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn every_mode_passes_a_dead_peer_over() {
    let world = TcpWorld::new().await;
    let (dead, alive, port) = (quiet_port(), Peer::named("alive").await, quiet_port());
    for mode in ["least_conn", "p2c", "maglev"] {
        let mut doc = (*plainly(&[dead, alive.port])).clone();
        doc.mode = Some(mode.to_owned());
        let applied = world.handle.apply_tcp(&port.to_string(), Some(doc.into()));
        applied.unwrap();
        for _ in 0..5 {
            assert_eq!(name_behind(port).await, "alive", "{mode}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_silent_session_ends() {
    let world = TcpWorld::with(|tcp| tcp.idle_timeout = Duration::from_millis(200)).await;
    let (echo, port) = (Peer::echo().await, quiet_port());
    world.put(port, &[echo.port]);
    let mut stream = connect(port).await;
    says(&mut stream, "hello").await;
    assert!(rest(&mut stream).await.is_err(), "it is reset, not ended");
    world.stop().await;
}

#[tokio::test]
async fn more_sessions_than_there_is_room_for_are_closed() {
    let world = TcpWorld::with(|tcp| tcp.max_sessions = 1).await;
    let (echo, port) = (Peer::echo().await, quiet_port());
    world.put(port, &[echo.port]);
    let mut first = connect(port).await;
    says(&mut first, "here").await;
    let mut second = connect(port).await;
    assert!(rest(&mut second).await.unwrap_or_default().is_empty());
    says(&mut first, "still").await;
    drop(first);
    world.stop().await;
}

#[tokio::test]
async fn a_connection_on_its_way_keeps_its_peer_undrained() {
    let world = TcpWorld::with(|tcp| tcp.connect_timeout = Duration::from_secs(2)).await;
    let (full, other, port) = (Full::new().await, Peer::named("b").await, quiet_port());
    let name = port.to_string();
    let both = vec![server("web-1", full.port), server("web-2", other.port)];
    let apply = |doc: UpstreamDoc| world.handle.apply_tcp(&name, Some(doc.into())).unwrap();
    apply(doc(1, both));
    let waiting = tokio::spawn(name_behind(port));
    let open = || {
        let report = world.handle.tcp_services().remove(&name);
        report.and_then(|r| r.draining.get(&id("web-1")).cloned())
    };
    wait_for_async("a connection", PATIENCE, || async {
        let status = Framed::connect(world.framed)
            .await
            .json("GET upstream status")
            .await;
        let line = &status[format!("cls:{name}")][0][0]["hancock"];
        if line["requests"] == 1 {
            Ok(())
        } else {
            Err(line.to_string())
        }
    })
    .await;
    apply(doc(2, vec![server("web-2", other.port)]));
    let draining = open().expect("not drained");
    assert!(
        draining.requests == 1 && draining.older_phase,
        "{draining:?}"
    );
    assert_eq!(waiting.await.unwrap(), "b");
    wait_for_async("the drain", PATIENCE, || async {
        match open() {
            Some(d) if d.requests > 0 || d.older_phase => Err(format!("{d:?}")),
            _ => Ok(()),
        }
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn the_verdict_on_a_local_instance_counts_for_tcp_too() {
    let world = TcpWorld::new().await;
    let (a, b, port) = (Peer::named("a").await, Peer::named("b").await, quiet_port());
    let both = doc(1, vec![server("web-1", a.port), server("web-2", b.port)]);
    world
        .handle
        .apply_tcp(&port.to_string(), Some(both.into()))
        .unwrap();
    let watch = |checked: u16| {
        let judged = judged(checked, CheckKind::Tcp, 1, 1);
        world.handle.watch_local([(id("web-1"), judged)].into());
    };
    let only = async |wanted: &'static [&'static str]| {
        wait_for_async("the verdict", PATIENCE, || async {
            let got = [
                name_behind(port).await,
                name_behind(port).await,
                name_behind(port).await,
            ];
            let all = wanted.iter().all(|w| got.iter().any(|g| g == w));
            let none = got.iter().all(|g| wanted.contains(&g.as_str()));
            if all && none {
                Ok(())
            } else {
                Err(format!("{got:?}"))
            }
        })
        .await;
    };
    only(&["a", "b"]).await;
    watch(Peer::dead());
    only(&["b"]).await;
    watch(a.port);
    only(&["a", "b"]).await;
    world.stop().await;
}
