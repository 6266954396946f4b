//! Over HTTP.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{PATIENCE, get};

use super::{CLEAR, bodies, exchange, holding, noise, state, unchanged};

/// Connections the management interface takes.
const CONNECTIONS: usize = 256;

/// A write of a document, as a well-meaning client frames it.
fn put(target: &[u8], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    framed(target, &length, body)
}

fn framed(target: &[u8], lines: &str, body: &[u8]) -> Vec<u8> {
    let rest = format!(" HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n{lines}\r\n\r\n");
    [b"PUT ", target, rest.as_bytes(), body].concat()
}

/// Status and body of each answer; a body goes to the beginning of the next.
fn answers(bytes: &[u8]) -> Vec<(u16, String)> {
    let text = String::from_utf8_lossy(bytes);
    let answers = text.split("HTTP/1.1 ").filter(|answer| !answer.is_empty());
    let read = |answer: &str| {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        (head[..3].parse().unwrap(), body.to_owned())
    };
    answers.map(read).collect()
}

#[tokio::test]
async fn documents_that_are_none_are_refused_in_a_sentence() {
    let world = holding().await;
    let before = state(&world).await;
    for (what, body) in bodies() {
        let sent = put(b"/upstream/web.example", &body);
        let answers = answers(&exchange(world.admin, &sent, false).await);
        let [(400, text)] = &answers[..] else {
            panic!("{what}: {answers:?}");
        };
        assert!(text.len() < CLEAR, "{what}: {} bytes back", text.len());
        assert!(text.contains("\"msg\":"), "{what}: {text}");
        unchanged(&world, &before, what).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_request_end_the_connection() {
    let world = holding().await;
    let before = state(&world).await;
    let fits = br#"{"servers":[{"host":"127.0.0.1","port":1}]}"#;
    let lengths = |lines: &str| framed(b"/upstream/web.example", lines, fits);
    let long = [b"/upstream/", "n".repeat(1 << 20).as_bytes()].concat();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for (what, sent) in [
        ("noise", noise(1 << 16)),
        ("zeros", vec![0; 1 << 16]),
        ("empty lines", b"\r\n".repeat(1 << 15)),
        ("a TLS client", [&hello[..], &noise(500)].concat()),
        (
            "the framed protocol",
            b"PUT upstream web.example\n\0\0\0\x02{}".to_vec(),
        ),
        ("a name of 1 MiB", put(&long, fits)),
        (
            "a name that is no UTF-8",
            put(b"/upstream/\xff\xfe\xc3(", fits),
        ),
        ("the same in percent", put(b"/upstream/%ff%fe%c3(", fits)),
        ("a length below zero", lengths("Content-Length: -1")),
        ("a length with a sign", lengths("Content-Length: +43")),
        ("a length in words", lengths("Content-Length: many")),
        (
            "a length no number holds",
            lengths("Content-Length: 99999999999999999999"),
        ),
        (
            "two lengths",
            lengths("Content-Length: 43\r\nContent-Length: 44"),
        ),
        ("a strange coding", lengths("Transfer-Encoding: gzip")),
        (
            "chunks that are none",
            lengths("Transfer-Encoding: chunked"),
        ),
        ("a length too short", lengths("Content-Length: 20")),
        (
            "a header of 1 MiB",
            lengths(&format!("X: {}", "x".repeat(1 << 20))),
        ),
        ("a thousand headers", lengths(&"X: y\r\n".repeat(1000))),
    ] {
        let done = ["zeros", "empty lines"].contains(&what);
        let answers = answers(&exchange(world.admin, &sent, done).await);
        let refused =
            |answer: &(u16, String)| (400..500).contains(&answer.0) && answer.1.len() < CLEAR;
        assert!(
            answers.len() <= 1 && answers.iter().all(refused),
            "{what}: {answers:?}"
        );
        unchanged(&world, &before, what).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn clients_that_say_nothing_leave_room_in_time() {
    let world = holding().await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(world.admin).await.unwrap();
        stream.write_all(b"GET /status HTTP/1.1\r\n").await.unwrap();
        held.push(stream);
    }
    let began = Instant::now();
    let one_more = exchange(
        world.admin,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        false,
    )
    .await;
    assert!(one_more.is_empty(), "{one_more:?}");
    for mut stream in held {
        let mut said = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        drop(read.expect("its end"));
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert_eq!(get(world.admin, "admin", "/healthz").await.body, "ok\n");
    world.stop().await;
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_document() {
    let world = holding().await;
    let before = state(&world).await;
    // What came would be a document.
    let fits = br#"{"servers":[{"host":"127.0.0.1","port":1}]}"#;
    let chunk = format!("{:x}\r\n{}\r\n", fits.len(), String::from_utf8_lossy(fits));
    for (what, lines, body) in [
        ("a length too long", "Content-Length: 1000", fits.to_vec()),
        (
            "no last chunk",
            "Transfer-Encoding: chunked",
            chunk.into_bytes(),
        ),
        (
            "half a chunk",
            "Transfer-Encoding: chunked",
            b"ff\r\n{\"servers\"".to_vec(),
        ),
        ("no body at all", "Content-Length: 43", Vec::new()),
    ] {
        let sent = framed(b"/upstream/web.example", lines, &body);
        let answers = answers(&exchange(world.admin, &sent, true).await);
        assert!(
            answers.iter().all(|(status, _)| *status == 400),
            "{what}: {answers:?}"
        );
        unchanged(&world, &before, what).await;
    }
    world.stop().await;
}
