//! How requests find their origin and what both sides see.

use std::collections::BTreeSet;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Client, PATIENCE, get, send};
use crate::origin::Origin;
use crate::world::{WEB, World, doc, plain, server};

async fn two(world: &World) -> (Origin, Origin) {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    world.apply(doc(
        1,
        vec![server("web-1", a.port()), server("web-2", b.port())],
    ));
    (a, b)
}

#[tokio::test]
async fn hosts_lead_to_services_whatever_their_spelling() {
    let world = World::new().await;
    let _origins = two(&world).await;
    let mut seen = BTreeSet::new();
    for host in [
        "web.example",
        "WEB.Example",
        "web.example:8080",
        "web.example.",
    ] {
        let answer = get(world.proxy, host, "/").await;
        assert_eq!(answer.status, StatusCode::OK, "{host}: {answer:?}");
        seen.insert(answer.body);
    }
    assert_eq!(seen, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    world.stop().await;
}

#[tokio::test]
async fn an_unknown_host_is_a_502_with_a_reason_and_the_connection_goes_on() {
    let world = World::new().await;
    let _origins = two(&world).await;
    let mut client = Client::connect(world.proxy, "nobody.example").await;
    for _ in 0..2 {
        let answer = client.get("/").await.unwrap();
        assert_eq!(
            (answer.status, answer.reason()),
            (StatusCode::BAD_GATEWAY, "unknown_host")
        );
        assert!(answer.body.contains("502 Bad Gateway"));
    }
    let head = send(world.proxy, "nobody.example", "HEAD", "/", "").await;
    assert_eq!(
        (head.status, head.body.as_str()),
        (StatusCode::BAD_GATEWAY, "")
    );
    world.apply(doc(2, vec![]));
    let answer = get(world.proxy, WEB, "/").await;
    assert_eq!(
        (answer.status, answer.reason()),
        (StatusCode::BAD_GATEWAY, "no_peer")
    );
    world.stop().await;
}

#[tokio::test]
async fn bad_requests_are_told_so() {
    let world = World::new().await;
    let _origins = two(&world).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("TRACE / HTTP/1.1\r\nHost: web.example\r\n\r\n", "405"),
        ("GET / HTTP/1.0\r\n\r\n", "502"),
        (
            "GET http://web.example/x HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n",
            "200",
        ),
    ] {
        let answer = raw(&world, request).await;
        let line = answer.lines().next().unwrap_or("").to_owned();
        assert!(line.contains(status), "{request:?} answered {line:?}");
    }
    world.stop().await;
}

/// Sends bytes, answers what comes until the status line is there.
async fn raw(world: &World, request: &str) -> String {
    let mut stream = TcpStream::connect(world.proxy).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = vec![0; 4096];
    let length = timeout(PATIENCE, stream.read(&mut got))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&got[..length]).into_owned()
}

#[tokio::test]
async fn origins_see_the_name_the_client_and_the_untouched_target() {
    let world = World::new().await;
    let _origins = two(&world).await;
    let mut stream = TcpStream::connect(world.proxy).await.unwrap();
    let request = "POST /echo?a=%2f&b HTTP/1.1\r\nHost: WEB.example:99\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n\
        X-Other: kept\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    for wanted in [
        "POST /echo?a=%2f&b\n",
        "host: web.example\n",
        "x-forwarded-for: 10.0.0.1, 10.0.0.2, 127.0.0.1\n",
        "x-other: kept\n",
        "\nhello",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in {text}");
    }
    world.stop().await;
}

#[tokio::test]
async fn answers_stream_as_they_come() {
    let world = World::new().await;
    let origin = Origin::start("a").await;
    world.apply(doc(1, vec![server("web-1", origin.port())]));
    let mut stream = TcpStream::connect(world.proxy).await.unwrap();
    stream
        .write_all(b"GET /stream HTTP/1.1\r\nHost: web.example\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    for n in 0..3 {
        origin.release(1);
        while !text.contains(&format!("chunk {n}")) {
            let mut got = [0; 1024];
            let length = timeout(PATIENCE, stream.read(&mut got))
                .await
                .expect("a chunk in time")
                .unwrap();
            text.push_str(&String::from_utf8_lossy(&got[..length]));
        }
        assert!(!text.contains(&format!("chunk {}", n + 1)));
    }
    world.stop().await;
}

#[tokio::test]
async fn hash_modes_stick() {
    let world = World::new().await;
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let servers = serde_json::json!([{"host": "127.0.0.1", "port": a.port()}, {"host": "localhost", "port": b.port()}]);
    let wanted = serde_json::json!({"mode": "header_hash", "cluster": [{"servers": servers}]});
    world.apply(plain(wanted));
    let mut client = Client::connect(world.proxy, WEB).await;
    let first = client.get("/some/path").await.unwrap();
    for _ in 0..5 {
        let again = client.get("/some//path?x").await.unwrap();
        assert_eq!(again.body, first.body);
    }
    world.stop().await;
}
