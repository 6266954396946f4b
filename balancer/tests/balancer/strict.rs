//! What clients send in bytes: one request in is one request seen, and whatever two readers could understand differently is refused.

use std::sync::Arc;
use std::time::Duration;

use hancock_balancer::Balancer;
use hancock_testkit::wait::wait_for_async;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::origin::Origin;
use crate::world::{WEB, World, plain, recorded};

async fn serving(origin: &Origin) -> World {
    let world = World::new().await;
    world.apply(plain(json!({
        "enable": false,
        "cluster": [{"servers": [{"host": "127.0.0.1", "port": origin.port()}]}],
    })));
    world
}

/// Everything that is answered until the connection ends.
async fn exchange(world: &World, sent: &str) -> String {
    let mut stream = TcpStream::connect(world.proxy).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the connection ends").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    let lines = answers.match_indices("HTTP/1.1 ");
    lines
        .map(|(at, line)| &answers[at + line.len()..][..3])
        .collect()
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_nothing_behind_them_is_served() {
    let origin = Origin::start("a").await;
    let world = serving(&origin).await;
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {WEB}\r\n\r\n");
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: +4",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "X: y\r\n folded",
        "Host: other",
        "X: y\nTransfer-Encoding: chunked",
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: {WEB}\r\n{lines}\r\n\r\n0\r\n\r\n{smuggled}");
        let answers = exchange(&world, &request).await;
        assert_eq!(statuses(&answers), ["400"], "{lines:?}: {answers}");
        assert!(answers.contains("Connection: close"), "{answers}");
    }
    assert_eq!(origin.hits(), 0);
}

#[tokio::test]
async fn requests_in_a_row_are_told_apart_by_their_framing() {
    let origin = Origin::start("a").await;
    let world = serving(&origin).await;
    let inner = format!("GET /inner HTTP/1.1\r\nHost: {WEB}\r\n\r\n");
    let sent = [
        format!("GET /1 HTTP/1.1\r\nHost: {WEB}\r\n\r\n"),
        format!(
            "POST /2 HTTP/1.1\r\nHost: {WEB}\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        ),
        format!(
            "POST /3 HTTP/1.1\r\nHost: {WEB}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
            inner.len()
        ),
        format!("GET http://{WEB}/4 HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"),
    ];
    let answers = exchange(&world, &sent.concat()).await;
    assert_eq!(statuses(&answers), ["200"; 4], "{answers}");
    assert_eq!(origin.hits(), 4);
}

#[tokio::test]
async fn a_broken_chunk_ends_the_request() {
    let origin = Origin::start("a").await;
    let world = serving(&origin).await;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {WEB}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"
    );
    let answers = exchange(&world, &request).await;
    assert!(!answers.starts_with("HTTP/1.1 200"), "{answers}");
}

#[tokio::test]
async fn internal_names_are_never_routed() {
    let origin = Origin::start("a").await;
    let world = World::new().await;
    for name in ["store", "logger"] {
        let doc = plain(
            json!({"cluster": [{"servers": [{"host": "127.0.0.1", "port": origin.port()}]}]}),
        );
        world.handle.apply(name, Some(Arc::new(doc))).unwrap();
        let answer = exchange(
            &world,
            &format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"),
        )
        .await;
        assert_eq!(statuses(&answer), ["502"], "{answer}");
    }
    assert_eq!(origin.hits(), 0);
}

#[tokio::test]
async fn every_request_leaves_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let (options, proxy, log) = recorded(folder.path());
    let balancer = Balancer::start(options).await.unwrap();
    for request in [
        "GET /x?y=1 HTTP/1.1\r\nHost: nobody.example\r\nX-Request-Id: r-1\r\nConnection: close\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
    }
    let records = wait_for_async("two records", PATIENCE, || async {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let records: Vec<Value> = text
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect();
        if records.len() == 2 {
            Ok(records)
        } else {
            Err(text)
        }
    })
    .await;
    let seen = |key: &str| [records[0][key].clone(), records[1][key].clone()];
    assert_eq!(seen("status"), ["502", "400"]);
    assert_eq!(seen("request_uri"), ["/x?y=1", "-"]);
    assert_eq!(seen("x_request_id"), ["r-1", "-"]);
    assert_eq!(seen("upstream_addr"), ["-", "-"]);
    balancer.shutdown(Duration::from_secs(1)).await;
}
