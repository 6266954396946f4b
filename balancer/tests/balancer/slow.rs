//! Clients that take their time, or too many connections: each is ended at its deadline or turned away, and nobody else notices.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Client, PATIENCE, get, stream_from};
use crate::metrics::until;
use crate::origin::Origin;
use crate::tcp::peer::Peer;
use crate::world::{WEB, World, plain};

/// Slow clients of each kind.
const EACH: usize = 100;
/// Clients in a hurry.
const ORDINARY: usize = 4;
/// A request that is not answered by then has failed.
const FAILED: Duration = Duration::from_secs(5);
/// Between two bytes of a slow client, which therefore never stalls.
const PAUSE: Duration = Duration::from_millis(300);
/// For the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Connections of one address.
const PER_ADDRESS: usize = 1024;
/// Where slow clients come from.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// A service whose answers are larger than any buffer.
const BIG: &str = "big.example";
const SIZE: usize = 1 << 30;

const OPEN: &str = "hancock_connections_open";
const ACCEPTED: &str = "hancock_connections_accepted_total";

/// A balancer may have half as many connections as its process may have files.
fn many_files() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = 8192.max(soft);
    assert!(hard >= wanted, "this test takes {wanted} open files");
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
}

async fn serving(origin: &Origin, big: &Peer) -> World {
    many_files();
    let world = World::new().await;
    let proxy = json!({"body_timeout": 1, "body_min_rate": 1000, "client_timeout": 1});
    for (name, port) in [(WEB, origin.port()), (BIG, big.port)] {
        let servers = json!([{"host": "127.0.0.1", "port": port}]);
        let doc = json!({"enable": false, "cluster": [{"servers": servers}], "proxy": proxy});
        world
            .handle
            .apply(name, Some(Arc::new(plain(doc))))
            .unwrap();
    }
    world
}

/// Room for what was sent and not read: filling megabytes for every client would be all that this machine does.
const ROOM: usize = 32 << 10;

/// Answers as much as anybody takes.
async fn endless() -> Peer {
    Peer::start(|mut stream| async move {
        let socket = SockRef::from(&stream);
        socket.set_send_buffer_size(ROOM).unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).await;
        while stream.write_all(&[b'x'; 1 << 14]).await.is_ok() {}
    })
    .await
}

/// Sends `begin`, and `drip` again and again until there is an answer: its status, and the time it took.
async fn drips(proxy: SocketAddr, begin: String, drip: &'static str) -> (String, Duration) {
    let mut stream = stream_from(ELSEWHERE, proxy).await;
    let began = Instant::now();
    stream.write_all(begin.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let dripping = async {
        while timeout(PAUSE, stream.read_exact(&mut answer))
            .await
            .is_err()
        {
            stream.write_all(drip.as_bytes()).await.unwrap();
        }
    };
    timeout(PATIENCE, dripping).await.expect("an answer");
    let status = String::from_utf8_lossy(&answer[9..]).into_owned();
    (status, began.elapsed())
}

/// Reads a little now and then until `over`, and then what is left: how much it was.
async fn sips(proxy: SocketAddr, mut over: watch::Receiver<bool>) -> usize {
    let mut stream = stream_from(ELSEWHERE, proxy).await;
    let socket = SockRef::from(&stream);
    socket.set_recv_buffer_size(ROOM).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {BIG}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut came, mut sip) = (0, [0; 64]);
    while timeout(PAUSE, over.wait_for(|over| *over)).await.is_err() {
        came += stream.read(&mut sip).await.unwrap_or(0);
    }
    came + rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> usize {
    let mut rest = Vec::new();
    // Cut off with a reset, or with an end.
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    drop(read.expect("the connection ends"));
    rest.len()
}

/// Asks again and again until `over`: how often it was answered.
async fn hurries(proxy: SocketAddr, over: watch::Receiver<bool>) -> usize {
    let mut client = Client::connect(proxy, WEB).await;
    let mut answered = 0;
    while !*over.borrow() {
        let answer = timeout(FAILED, client.get("/")).await;
        let answer = answer.expect("an answer in time").unwrap();
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "a"));
        answered += 1;
    }
    answered
}

#[tokio::test]
async fn slow_clients_end_at_their_deadline_and_nobody_else_waits() {
    let (origin, big) = (Origin::start("a").await, endless().await);
    let world = serving(&origin, &big).await;
    let (cut, was_cut) = watch::channel(false);
    let (done, is_done) = watch::channel(false);
    let (mut heads, mut bodies) = (JoinSet::new(), JoinSet::new());
    let (mut reads, mut ordinary) = (JoinSet::new(), JoinSet::new());
    let head = format!("GET / HTTP/1.1\r\nHost: {WEB}\r\n");
    let body = format!("POST /echo HTTP/1.1\r\nHost: {WEB}\r\nContent-Length: 100000\r\n\r\n");
    for _ in 0..EACH {
        heads.spawn(drips(world.proxy, head.clone(), "X: y\r\n"));
        bodies.spawn(drips(world.proxy, body.clone(), "x"));
        reads.spawn(sips(world.proxy, was_cut.clone()));
    }
    until(world.admin, ACCEPTED, |n| n == (3 * EACH) as f64).await;
    for _ in 0..ORDINARY {
        ordinary.spawn(hurries(world.proxy, is_done.clone()));
    }
    for (status, took) in bodies.join_all().await {
        // Granted one second, then measured in whole ones.
        let timely = took >= Duration::from_secs(2) && took < HEAD;
        assert!(status == "408" && timely, "body: {status} {took:?}");
    }
    for (status, took) in heads.join_all().await {
        let timely = took >= HEAD && took < 2 * HEAD;
        assert!(status == "408" && timely, "head: {status} {took:?}");
    }
    until(world.admin, OPEN, |open| open == ORDINARY as f64).await;
    cut.send_replace(true);
    for came in reads.join_all().await {
        assert!(0 < came && came < SIZE, "{came} bytes");
    }
    done.send_replace(true);
    let answered = ordinary.join_all().await;
    // Each of them went on all the time: that is at least ten seconds.
    assert!(answered.iter().all(|n| *n >= 100), "{answered:?}");
    let slow = "hancock_requests_refused_total{reason=\"slow_header\"}";
    let told = until(world.admin, slow, |n| n == EACH as f64).await;
    let class = |class| format!("hancock_requests_total{{service=\"{WEB}\",class=\"{class}\"}}");
    assert_eq!(told.get(&class("4xx")), Some(EACH as f64));
    assert_eq!(told.get(&class("5xx")).unwrap_or(0.0), 0.0);
    world.stop().await;
}

/// A connection with the beginning of a request: it is accepted at once.
async fn begun(proxy: SocketAddr) -> TcpStream {
    let mut stream = stream_from(ELSEWHERE, proxy).await;
    stream.write_all(b"G").await.unwrap();
    stream
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_turned_away_and_others_are_served() {
    let (origin, big) = (Origin::start("a").await, endless().await);
    let world = serving(&origin, &big).await;
    let mut held = Vec::new();
    for _ in 0..PER_ADDRESS {
        held.push(begun(world.proxy).await);
    }
    until(world.admin, OPEN, |open| open == PER_ADDRESS as f64).await;
    for _ in 0..3 {
        let mut one_more = begun(world.proxy).await;
        assert_eq!(rest(&mut one_more).await, 0, "closed without a word");
    }
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    let away = "hancock_connections_turned_away_total{limit=\"address\"}";
    let told = until(world.admin, away, |n| n == 3.0).await;
    let total = "hancock_connections_turned_away_total{limit=\"total\"}";
    assert_eq!(told.get(total), Some(0.0));
    drop(held);
    until(world.admin, OPEN, |open| open == 0.0).await;
    let mut again = Client::connect_from(ELSEWHERE, world.proxy, WEB).await;
    assert_eq!(again.get("/").await.unwrap().body, "a");
    world.stop().await;
}
