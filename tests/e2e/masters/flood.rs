//! A master among clients that are slow on purpose: nobody else is kept waiting for them, and in a while they are gone.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hancock_testkit::proc;
use hancock_testkit::wait::wait_for;
use hancock_tls::Pin;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::cluster::{Cluster, LATE};
use crate::agents::node::Node;
use crate::agents::wait_nodes;

/// Clients whose head comes byte by byte.
const HEADS: usize = 200;
/// Clients whose body stops.
const BODIES: usize = 100;
/// Clients that read nothing.
const READERS: usize = 30;
/// Clients that do not even begin the handshake.
const SILENT: usize = 100;
/// Answers each of those readers asks for: more than the kernel keeps of one connection.
const ASKED: usize = 100;
/// Time until all must be gone: the longest of their deadlines is 30 s.
const GONE: Duration = Duration::from_secs(100);
/// Time between two bytes of a head.
const BEAT: Duration = Duration::from_millis(500);
/// Writes before the flood.
const CALM: usize = 50;
/// How much longer than before it a write may take while it lasts, beside what a busy machine adds.
const RATIO: u32 = 5;
const SLACK: Duration = Duration::from_millis(100);
/// Memory that so many connections may take.
const MEMORY_KIB: u64 = 96 << 10;

type Tls = StreamOwned<ClientConnection, TcpStream>;

struct Flood {
    api: SocketAddr,
    tls: Arc<ClientConfig>,
    token: String,
}

impl Flood {
    fn of(cluster: &Cluster) -> Self {
        let pin = Pin::of_token(&cluster.token).unwrap();
        Self {
            api: cluster.api(0),
            tls: Arc::new(hancock_tls::pinned(pin, hancock_tls::HTTP).unwrap()),
            token: cluster.token.clone(),
        }
    }

    /// A client that has said this.
    fn says(&self, text: &str) -> Tls {
        let tcp = TcpStream::connect_timeout(&self.api, LATE).unwrap();
        let name = ServerName::from(self.api.ip());
        let session = ClientConnection::new(self.tls.clone(), name).unwrap();
        let mut tls = StreamOwned::new(session, tcp);
        tls.write_all(text.as_bytes()).unwrap();
        tls.flush().unwrap();
        tls.sock.set_nonblocking(true).unwrap();
        tls
    }

    fn request(&self, method: &str, path: &str, length: usize) -> String {
        let token = &self.token;
        format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n"
        )
    }

    fn clients(&self, many: usize, text: &str) -> Vec<Tls> {
        (0..many).map(|_| self.says(text)).collect()
    }
}

/// Sockets a process has.
fn sockets(pid: i32) -> usize {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten();
    let is_socket = |fd: &std::fs::DirEntry| {
        let target = std::fs::read_link(fd.path()).unwrap_or_default();
        target.to_string_lossy().starts_with("socket:")
    };
    open.filter(is_socket).count()
}

/// How long one ordinary write takes, which must succeed.
#[track_caller]
fn write(cluster: &Cluster, number: usize) -> Duration {
    let begun = Instant::now();
    let body = format!(r#"{{"selector": {{"n": "{number}"}}}}"#);
    let answer = cluster.send(0, "PUT", "/v1/zones/probe", None, &body);
    assert_eq!(answer.as_ref().map(|a| a.status), Ok(200), "{answer:?}");
    begun.elapsed()
}

/// Readers the master has told of.
fn cut_off(cluster: &Cluster) -> usize {
    let told = cluster.told(0);
    told.matches("a reader took nothing of its answer").count()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn slow_clients_hinder_nobody_and_are_sent_away() {
    let cluster = Cluster::start(1);
    let mut node = Node::new("n1", &cluster.join, cluster.agents(0));
    node.spawn();
    wait_nodes(&cluster, 1);
    let master = proc::listener(cluster.api(0).port()).unwrap().pid;
    let mut calm: Vec<_> = (0..CALM).map(|n| write(&cluster, n)).collect();
    let (sockets_before, before) = (sockets(master), proc::resident_kib(master).unwrap());

    let begun = Instant::now();
    let flood = Flood::of(&cluster);
    let silent: Vec<_> = (0..SILENT)
        .map(|_| TcpStream::connect_timeout(&flood.api, LATE).unwrap())
        .collect();
    let mut heads = flood.clients(HEADS, "GET /v1/status HTTP/1.1\r\nx-slow: ");
    let bodies = flood.clients(
        BODIES,
        &(flood.request("PUT", "/v1/zones/slow", 100_000) + "x"),
    );
    let unread = flood.request("GET", "/v1/openapi.json", 0).repeat(ASKED);
    let readers = flood.clients(READERS, &unread);
    let (mut most, mut peak) = (sockets(master), before);
    let (mut busy, mut beat) = (Vec::new(), Instant::now());
    wait_for("the end of all slow ones", GONE, || {
        busy.push(write(&cluster, busy.len()));
        if beat.elapsed() >= BEAT {
            beat = Instant::now();
            for head in &mut heads {
                // One that was sent away takes none.
                drop(head.write(b"x").and_then(|_| head.flush()));
            }
        }
        let open = sockets(master);
        most = most.max(open);
        peak = peak.max(proc::resident_kib(master).unwrap());
        // The last write's own connection may still be there.
        let gone = open <= sockets_before + 2 && cut_off(&cluster) == READERS;
        if gone { Ok(()) } else { Err(open) }
    });
    let took = begun.elapsed();
    let told = cluster.told(0);
    let (quiet, loud) = (median(&mut calm), median(&mut busy));
    println!(
        "{} clients, at most {most} sockets, gone after {took:.1?}; a write took {quiet:.1?} before and {loud:.1?} of {} meanwhile (slowest \
         {:.1?}); {before} KiB before, {peak} at most",
        HEADS + BODIES + READERS + SILENT,
        busy.len(),
        busy.last().unwrap(),
    );
    assert!(most > HEADS + BODIES, "{most}");
    assert!(loud <= quiet * RATIO + SLACK, "{quiet:?}, then {loud:?}");
    assert!(peak - before <= MEMORY_KIB, "{before} KiB, then {peak}");
    // The node has noticed nothing.
    assert!(!told.contains("node disconnected"), "{told}");
    assert_eq!(wait_nodes(&cluster, 1).len(), 1);
    assert!(write(&cluster, 0) <= quiet * RATIO + SLACK);
    drop((silent, bodies, readers));
}
