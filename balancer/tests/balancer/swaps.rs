//! Hot swap under load: whatever changes, no request fails, no session is cut, and nothing that must not be repeated is.
//!
//! Small here; with `HANCOCK_LONG=1` and optimized (`tests/bench/run swap`) as large as promised: 2,000 requests per second, 200 changes
//! of each service.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hancock_balancer::Handle;
use hancock_proto::ids::DocIndex;
use hancock_proto::report::ServiceReport;
use hancock_proto::upstream::{Server, UpstreamDoc};
use hancock_testkit::skip;
use hancock_testkit::wait::wait_for_async;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::client::Client;
use crate::tcp::doors::more_files;
use crate::tcp::peer::Peer;
use crate::tcp::{TcpWorld, connect, quiet_port};
use crate::world::{handover, server};

/// For anything on a machine that is busy with other tests.
const LATE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
const SESSIONS: usize = 20;
const HOSTS: [&str; 2] = ["swapped.example", "other.example"];

/// How often each id was posted, over all origins.
type Posted = Arc<Mutex<BTreeMap<u64, u32>>>;

/// An origin that counts what is posted and becomes an echo when asked to upgrade.
struct Counting {
    port: u16,
    serving: JoinHandle<()>,
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Counting {
    async fn start(posted: &Posted) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let posted = posted.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let posted = posted.clone();
                let service = service_fn(move |request| {
                    let answer = answer(request, &posted);
                    async move { Ok::<_, Infallible>(answer) }
                });
                connections.spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let served = http.serve_connection(TokioIo::new(stream), service);
                    let _ = served.with_upgrades().await;
                });
            }
        });
        Self { port, serving }
    }
}

fn answer(mut request: Request<Incoming>, posted: &Posted) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("fine"));
    if request.headers().contains_key("upgrade") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let (mut read, mut write) = tokio::io::split(&mut io);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert("connection", "Upgrade".parse().unwrap());
        headers.insert("upgrade", "websocket".parse().unwrap());
    }
    if request.method() == "POST" {
        let id = request.uri().path()[1..].parse().unwrap();
        *posted.lock().unwrap().entry(id).or_default() += 1;
    }
    response
}

/// Requests at a fixed rate, whatever becomes of them: new connections and kept ones, repeatable and not.
struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    driving: JoinHandle<Vec<String>>,
}

impl Traffic {
    fn start(proxy: SocketAddr, per_second: u32) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let driving = tokio::spawn(drive(proxy, per_second, stop.clone(), sent.clone()));
        Self {
            stop,
            sent,
            driving,
        }
    }

    /// Everything that failed.
    async fn finish(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.driving.await.unwrap();
        (self.sent.load(Ordering::Relaxed), failed)
    }
}

/// Connections between two requests, by host.
type Kept = Arc<Mutex<Vec<(usize, Client)>>>;

async fn drive(
    proxy: SocketAddr,
    per_second: u32,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
) -> Vec<String> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    let (kept, mut open, mut failed) = (Kept::default(), JoinSet::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let id = sent.fetch_add(1, Ordering::Relaxed);
        open.spawn(one(proxy, id, kept.clone()));
        while let Some(done) = open.try_join_next() {
            failed.extend(done.unwrap().err());
        }
    }
    while let Some(done) = open.join_next().await {
        failed.extend(done.unwrap().err());
    }
    failed
}

/// Every second request of each host.
fn is_post(id: u64) -> bool {
    (id / 2).is_multiple_of(2)
}

async fn one(proxy: SocketAddr, id: u64, kept: Kept) -> Result<(), String> {
    let (host, post, fresh) = ((id % 2) as usize, is_post(id), (id / 4).is_multiple_of(2));
    let known = || {
        let mut kept = kept.lock().unwrap();
        let at = kept.iter().position(|(of, _)| *of == host)?;
        Some(kept.swap_remove(at).1)
    };
    let client = if fresh { None } else { known() };
    let mut client = match client {
        Some(client) => client,
        None => {
            let source = Ipv4Addr::new(127, 0, 1, 1 + (id % 100) as u8);
            Client::connect_from(source, proxy, HOSTS[host]).await
        }
    };
    let method = if post { "POST" } else { "GET" };
    let answer = timeout(LATE, client.send(method, &format!("/{id}"), "")).await;
    let answer = answer.unwrap_or(Err("no answer".to_owned()));
    let answer = answer.map_err(|e| format!("{method} {id} fresh {fresh}: {e}"))?;
    if answer.status != StatusCode::OK || answer.body != "fine" {
        return Err(format!("{method} {id} fresh {fresh}: {answer:?}"));
    }
    if !fresh {
        kept.lock().unwrap().push((host, client));
    }
    Ok(())
}

/// A session that talks until it is stopped; how often it did.
fn talk(mut stream: TcpStream, stop: Arc<AtomicBool>) -> JoinHandle<Result<u64, String>> {
    tokio::spawn(async move {
        let (mut rounds, mut pauses) = (0, tokio::time::interval(PAUSE));
        while !stop.load(Ordering::Relaxed) {
            let mut back = [0; 4];
            let exchange = async {
                stream.write_all(b"ping").await?;
                stream.read_exact(&mut back).await
            };
            let done = timeout(LATE, exchange)
                .await
                .map_err(|_| "no echo".to_owned())?;
            done.map_err(|e| format!("cut after {rounds} rounds: {e}"))?;
            rounds += 1;
            pauses.tick().await;
        }
        Ok(rounds)
    })
}

async fn websocket(proxy: SocketAddr, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let ask = format!(
        "GET /0 HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(LATE, stream.read_u8()).await.unwrap();
        head.push(byte.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{head:?}");
    stream
}

/// One service that changes between two peers.
struct Swapped {
    name: String,
    tcp: bool,
    ports: [u16; 2],
    index: u64,
}

impl Swapped {
    fn peer(&self, index: u64) -> Server {
        let at = usize::from(index.is_multiple_of(2));
        // Every index is a new instance, as every version is.
        server(&format!("web-{index}"), self.ports[at])
    }

    fn next(&mut self) -> UpstreamDoc {
        self.index += 1;
        let (old, new) = (self.peer(self.index - 1), self.peer(self.index));
        let added = format!("web-{}", self.index);
        match self.index {
            1 => handover(1, vec![new], &[], vec![]),
            index => handover(index, vec![new], &[&added], vec![old]),
        }
    }

    /// Changes, and waits until that is confirmed.
    async fn swap(&mut self, handle: &Handle) {
        let doc = Some(Arc::new(self.next()));
        match self.tcp {
            true => handle.apply_tcp(&self.name, doc).unwrap(),
            false => handle.apply(&self.name, doc).unwrap(),
        }
        wait_for_async("a confirmation", LATE, || async {
            let mut all: BTreeMap<String, ServiceReport> = match self.tcp {
                true => handle.tcp_services(),
                false => handle.services(),
            };
            let report = all.remove(&self.name);
            match report {
                Some(r) if r.confirmed == DocIndex(self.index) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_fails_while_services_change() {
    more_files();
    // Unoptimized, client, balancer and origins together cannot keep up with more.
    let most = if cfg!(debug_assertions) { 400 } else { 2000 };
    let (rate, rounds) = (skip::rounds(150, most), skip::rounds(25, 200));
    let posted = Posted::default();
    let world = TcpWorld::new().await;
    let mut services = Vec::new();
    let (mut origins, mut echoes) = (Vec::new(), Vec::new());
    let ports = [quiet_port(), quiet_port()];
    for at in 0..2 {
        let (a, b) = (
            Counting::start(&posted).await,
            Counting::start(&posted).await,
        );
        let (c, d) = (Peer::echo().await, Peer::echo().await);
        let service = |name: &str, tcp, ports| Swapped {
            name: name.to_owned(),
            tcp,
            ports,
            index: 0,
        };
        services.push(service(HOSTS[at], false, [a.port, b.port]));
        services.push(service(&ports[at].to_string(), true, [c.port, d.port]));
        origins.extend([a, b]);
        echoes.extend([c, d]);
    }
    for service in &mut services {
        service.swap(&world.handle).await;
    }
    let stop = Arc::<AtomicBool>::default();
    let mut sessions = Vec::new();
    for n in 0..SESSIONS {
        let upgraded = websocket(world.proxy, HOSTS[n % 2]).await;
        sessions.push(talk(upgraded, stop.clone()));
        sessions.push(talk(connect(ports[n % 2]).await, stop.clone()));
    }
    let traffic = Traffic::start(world.proxy, u32::try_from(rate).unwrap());
    let (began, mut pauses) = (Instant::now(), tokio::time::interval(PAUSE));
    for _ in 0..rounds {
        for service in &mut services {
            service.swap(&world.handle).await;
        }
        pauses.tick().await;
    }
    let took = began.elapsed();
    let (sent, failed) = traffic.finish().await;
    stop.store(true, Ordering::Relaxed);
    let mut talked = 0;
    for session in sessions {
        talked += session.await.unwrap().unwrap();
    }
    println!(
        "{sent} requests in {took:.1?} ({:.0}/s), {rounds} changes of each of 4 services, {} sessions with {talked} rounds, {} failed",
        sent as f64 / took.as_secs_f64(),
        2 * SESSIONS,
        failed.len(),
    );
    assert!(
        failed.is_empty(),
        "{} of {sent}: {:?}",
        failed.len(),
        &failed[..failed.len().min(9)]
    );
    let posted = posted.lock().unwrap().clone();
    let twice: Vec<_> = posted.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "posted more than once: {twice:?}");
    let expected = (0..sent).filter(|id| is_post(*id)).count();
    assert_eq!(posted.len(), expected, "every POST came once");
    drop((origins, echoes));
    world.stop().await;
}
