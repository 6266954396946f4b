//! Timeouts: each test would outlast its patience under the defaults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hancock_testkit::wait::wait_for_async;
use hyper::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{connect, exchange, rest, serving, status};
use crate::client::{Client, PATIENCE, get, send};
use crate::origin::Origin;
use crate::tcp::peer::{Full, Peer};
use crate::world::WEB;

#[tokio::test]
async fn a_peer_that_does_not_accept_is_given_up_after_connect_timeout() {
    let full = Full::new().await;
    let usual = Duration::from_secs(3);
    for seconds in [0.2, 1.2] {
        let world = serving(&[full.port], json!({"connect_timeout": seconds})).await;
        let began = Instant::now();
        let answer = get(world.proxy, WEB, "/").await;
        let took = began.elapsed();
        assert_eq!(
            (answer.status, answer.reason()),
            (StatusCode::GATEWAY_TIMEOUT, "timeout")
        );
        let least = Duration::from_secs_f64(seconds);
        assert!((least..usual).contains(&took), "{seconds} s: {took:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_request_goes_elsewhere_after_connect_timeout() {
    let full = Full::new().await;
    let origin = Origin::start("a").await;
    let members = json!({"connect_timeout": 0.2});
    let world = serving(&[full.port, origin.port()], members).await;
    for _ in 0..4 {
        // Nothing was sent, so it is repeated whatever it would have done.
        let answer = send(world.proxy, WEB, "POST", "/", "x").await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "a"));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_connection_to_a_peer_that_nobody_uses_is_closed_after_pool_timeout() {
    let (opened, closed) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
    let peer = Peer::patient(Arc::clone(&opened), Arc::clone(&closed)).await;
    let kept = Duration::from_secs(1);
    let members = json!({"pool_timeout": kept.as_secs_f64()});
    let world = serving(&[peer.port], members).await;
    // One connection, so one thread, so one pool.
    let mut client = Client::connect(world.proxy, WEB).await;
    for round in 1..=2 {
        let mut last = Instant::now();
        for _ in 0..3 {
            last = Instant::now();
            assert_eq!(client.get("/").await.unwrap().body, "x");
        }
        assert_eq!(opened.load(Ordering::SeqCst), round, "used again");
        wait_for_async("its end", PATIENCE, || async {
            let ended = closed.load(Ordering::SeqCst);
            if ended == round { Ok(()) } else { Err(ended) }
        })
        .await;
        assert!(last.elapsed() >= kept, "after {:?}", last.elapsed());
    }
    world.stop().await;
}

#[tokio::test]
async fn a_silent_origin_is_given_up_after_read_timeout() {
    let origin = Origin::start("a").await;
    let world = serving(&[origin.port()], json!({"read_timeout": 0.2})).await;
    let answer = get(world.proxy, WEB, "/slow").await;
    assert_eq!(
        (answer.status, answer.reason()),
        (StatusCode::GATEWAY_TIMEOUT, "timeout")
    );
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    world.stop().await;
}

#[tokio::test]
async fn an_origin_that_does_not_read_is_given_up_after_send_timeout() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = deaf.local_addr().unwrap().port();
    // It may have answered before it stopped reading: that is waited for.
    let members = json!({"send_timeout": 0.3, "read_timeout": 0.3});
    let world = serving(&[port], members).await;
    let mut stream = connect(&world).await;
    let head = format!("POST /echo HTTP/1.1\r\nHost: {WEB}\r\nContent-Length: 268435456\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let piece = vec![b'x'; 1 << 16];
    let sending = async { while write.write_all(&piece).await.is_ok() {} };
    let mut answer = [0; 12];
    let answered = async {
        tokio::select! {
            came = read.read_exact(&mut answer) => came.unwrap(),
            () = async { sending.await; std::future::pending().await } => unreachable!(),
        }
    };
    timeout(PATIENCE, answered).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 504");
}

#[tokio::test]
async fn connections_wait_for_their_next_request_as_long_as_the_service_says() {
    let origin = Origin::start("a").await;
    let request = format!("GET / HTTP/1.1\r\nHost: {WEB}\r\n\r\n");
    for (seconds, closes) in [(json!(0), true), (json!(0.3), false)] {
        let world = serving(&[origin.port()], json!({"keepalive_timeout": seconds})).await;
        let answer = exchange(&world, &request).await;
        assert_eq!(status(&answer), "200");
        let told = answer.to_lowercase().contains("connection: close");
        assert_eq!(told, closes, "{answer}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_408() {
    let origin = Origin::start("a").await;
    let world = serving(&[origin.port()], json!({"body_timeout": 0.3})).await;
    let sent = format!("POST /echo HTTP/1.1\r\nHost: {WEB}\r\nContent-Length: 10\r\n\r\nx");
    let answer = exchange(&world, &sent).await;
    assert_eq!(status(&answer), "408", "{answer}");
    assert!(answer.contains("X-Hancock-Reason: slow_body"), "{answer}");
}

#[tokio::test]
async fn a_body_that_drips_is_answered_408_although_it_never_stalls() {
    let origin = Origin::start("a").await;
    let members = json!({"body_timeout": 2, "body_min_rate": 1_000_000});
    let world = serving(&[origin.port()], members).await;
    let mut stream = connect(&world).await;
    let head = format!("POST /echo HTTP/1.1\r\nHost: {WEB}\r\nContent-Length: 100000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    let dripping = async {
        let pause = Duration::from_millis(50);
        while timeout(pause, stream.read_exact(&mut first)).await.is_err() {
            stream.write_all(b"x").await.unwrap();
        }
    };
    timeout(PATIENCE, dripping).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_silent_websocket_ends_after_session_timeout() {
    let origin = Origin::start("a").await;
    let world = serving(&[origin.port()], json!({"session_timeout": 0.5})).await;
    let mut stream = connect(&world).await;
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {WEB}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert_eq!(status(&answer), "101", "{answer}");
}
