//! Connections to origins between requests, whichever engine holds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use hancock_balancer::Engine;
use hancock_testkit::wait::wait_for_async;

use crate::client::{Client, PATIENCE, send};
use crate::tcp::peer::Peer;
use crate::world::{WEB, World, doc, engine, plain, server};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";

/// An origin that counts its connections.
#[derive(Clone, Default)]
struct Counts {
    opened: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
}

impl Counts {
    fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    async fn until_open(&self, wanted: u64) {
        wait_for_async("connections of the origin", PATIENCE, || async {
            match self.open.load(Ordering::SeqCst) {
                open if open == wanted => Ok(()),
                open => Err(open),
            }
        })
        .await;
    }
}

/// Answers each piece it reads with `name`; hangs up after `requests` of them, behind `last`.
async fn counted(name: u8, requests: usize, last: &'static [u8]) -> (Peer, Counts) {
    let counts = Counts::default();
    let counting = counts.clone();
    let peer = Peer::start(move |mut stream| {
        let counts = counting.clone();
        async move {
            counts.opened.fetch_add(1, Ordering::SeqCst);
            counts.open.fetch_add(1, Ordering::SeqCst);
            serve(&mut stream, name, requests, last).await;
            counts.open.fetch_sub(1, Ordering::SeqCst);
        }
    });
    (peer.await, counts)
}

async fn serve(stream: &mut TcpStream, name: u8, requests: usize, last: &[u8]) {
    let mut request = [0; 8192];
    for _ in 0..requests {
        if stream.read(&mut request).await.is_ok_and(|n| n == 0) {
            return;
        }
        let answer = [ANSWER, &[name]].concat();
        stream.write_all(&answer).await.unwrap();
    }
    let _ = stream.write_all(last).await;
}

#[tokio::test]
async fn connections_of_a_peer_that_left_are_closed() {
    if engine() == Engine::General {
        // Its pool lets nobody in; there they end with their time.
        return;
    }
    let (one, ones) = counted(b'1', usize::MAX, b"").await;
    let (two, twos) = counted(b'2', usize::MAX, b"").await;
    let world = World::new().await;
    world.apply(doc(1, vec![server("a", one.port)]));
    let mut client = Client::connect(world.proxy, WEB).await;
    for method in ["GET", "POST"] {
        let answer = client.send(method, "/", "").await.unwrap();
        assert_eq!(answer.body, "1");
    }
    assert!(ones.opened() >= 1);
    world.apply(doc(2, vec![server("b", two.port)]));
    assert_eq!(client.get("/").await.unwrap().body, "2");
    ones.until_open(0).await;
    twos.until_open(1).await;
    world.stop().await;
}

/// The same address again is somebody else when its instance is.
#[tokio::test]
async fn no_instance_is_reached_over_anothers_connection() {
    let (origin, counts) = counted(b'1', usize::MAX, b"").await;
    let world = World::new().await;
    let mut client = Client::connect(world.proxy, WEB).await;
    for index in 1..=3 {
        let instance = format!("i{index}");
        world.apply(doc(index, vec![server(&instance, origin.port)]));
        for _ in 0..3 {
            assert_eq!(client.get("/").await.unwrap().body, "1");
        }
        assert_eq!(counts.opened(), index);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_connection_its_origin_closed_is_not_used_again() {
    let (origin, counts) = counted(b'1', 1, b"").await;
    let world = World::new().await;
    let servers = json!([{"host": "127.0.0.1", "port": origin.port, "max_fails": 1}]);
    world.apply(plain(
        json!({"enable": false, "cluster": [{"servers": servers}]}),
    ));
    let mut client = Client::connect(world.proxy, WEB).await;
    for round in 1..=4 {
        // Not repeated, so it fails where the connection was believed to live.
        let answer = client.send("POST", "/", "").await.unwrap();
        assert_eq!(
            (answer.status, &*answer.body),
            (StatusCode::OK, "1"),
            "{round}"
        );
        counts.until_open(0).await;
    }
    assert_eq!(counts.opened(), 4);
    world.stop().await;
}

#[tokio::test]
async fn what_nobody_asked_for_is_nobodys_answer() {
    let stolen = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";
    let (origin, counts) = counted(b'1', 1, stolen).await;
    let world = World::new().await;
    world.apply(doc(1, vec![server("a", origin.port)]));
    let mut client = Client::connect(world.proxy, WEB).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.unwrap().body, "1");
        counts.until_open(0).await;
    }
    world.stop().await;
}

/// Who leaves while the origin thinks takes the request along.
#[tokio::test]
async fn an_origin_is_told_when_its_client_has_gone() {
    let (asked, mut asking) = tokio::sync::mpsc::channel(1);
    let (gone, mut going) = tokio::sync::mpsc::channel(1);
    let silent = Peer::start(move |mut stream| {
        let (asked, gone) = (asked.clone(), gone.clone());
        async move {
            let mut request = [0; 8192];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            asked.send(()).await.unwrap();
            assert_eq!(stream.read(&mut request).await.unwrap_or(0), 0);
            gone.send(()).await.unwrap();
        }
    })
    .await;
    let world = World::new().await;
    world.apply(doc(1, vec![server("a", silent.port)]));
    let mut stream = TcpStream::connect(world.proxy).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {WEB}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    asking.recv().await.unwrap();
    drop(stream);
    timeout(PATIENCE, going.recv()).await.unwrap().unwrap();
    world.until("nothing open", |r| r.draining.is_empty()).await;
    world.stop().await;
}

/// Requests of both kinds on one connection, and answers of every framing.
#[tokio::test]
async fn one_connection_goes_through_both_engines() {
    let origin = Peer::start(|mut stream| async move {
        let mut request = [0; 8192];
        let answers = [
            "Content-Length: 1\r\n\r\n1",
            "Transfer-Encoding: chunked\r\n\r\n1;x=y\r\n1\r\n0\r\nT: x\r\n\r\n",
            "Connection: close\r\n\r\n1",
        ];
        for answer in answers {
            let mut whole = Vec::new();
            // A head may come without its body: an answer before its end would be one to nothing.
            while !whole.ends_with(if whole.starts_with(b"PUT") {
                b"body"
            } else {
                b"\r\n\r\n"
            }) {
                match stream.read(&mut request).await.unwrap_or(0) {
                    0 => return,
                    read => whole.extend_from_slice(&request[..read]),
                }
            }
            let answer = format!("HTTP/1.1 200 OK\r\n{answer}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let world = World::new().await;
    world.apply(doc(1, vec![server("a", origin.port)]));
    let mut client = Client::connect(world.proxy, WEB).await;
    for round in 0..12 {
        let (method, body) = [("GET", ""), ("PUT", "body"), ("DELETE", "")][round % 3];
        let answer = client.send(method, "/", body).await.unwrap();
        assert_eq!(
            (answer.status, &*answer.body),
            (StatusCode::OK, "1"),
            "{round}"
        );
    }
    let head = send(world.proxy, WEB, "HEAD", "/", "").await;
    assert_eq!((head.status, &*head.body), (StatusCode::OK, ""));
    world.stop().await;
}
