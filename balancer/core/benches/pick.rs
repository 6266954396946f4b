//! What choosing a peer costs, per mode and number of peers: the whole of it, from the request's key to the position in the view.
//!
//! One thread, so nothing is contended; many short samples, of which most are not interrupted on a busy machine either, so read the median.
//! Bar: 100 ns in rotation and in the hash modes with 4 to 10 peers. `tests/bench/run pick` runs it.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode};
use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::maglev::Maglev;
use hancock_balancer_core::peer::Ticket;
use hancock_balancer_core::pick::{Tried, pick};
use hancock_balancer_core::table::{Peers, View};
use hancock_balancer_core::upstream::{Mode, Upstream};
use hancock_proto::time::Timestamp;
use serde_json::json;

const KEYS: usize = 256;

/// Peers that have answered before; one in three has something open.
fn view(mode: &str, peers: usize) -> (View, Vec<Ticket>) {
    let servers: Vec<_> = (0..peers)
        .map(|n| json!({"host": format!("10.1.{}.{}", n / 200, n % 200 + 1), "port": 8080, "max_fails": 3}))
        .collect();
    let doc = json!({"mode": mode, "cluster": [{"servers": servers}]});
    let doc = serde_json::from_value(doc).expect("a document");
    let upstream = Upstream::new("web", Arc::new(doc)).expect("a valid one");
    let view = View::new(&upstream, &mut Peers::default());
    let entries = view.entries().iter().enumerate();
    let tickets = entries.filter_map(|(at, entry)| {
        let took = Duration::from_micros(800 + 37 * at as u64);
        entry.peer.latency().took(took, true, Timestamp(1));
        (at % 3 == 0).then(|| Ticket::new(entry.peer.clone()))
    });
    let tickets = tickets.collect();
    (view, tickets)
}

struct Client {
    target: String,
    ip: IpAddr,
    header: String,
}

/// Paths of some thirty bytes, as they are usually asked for.
fn clients(v6: bool) -> Vec<Client> {
    let client = |n: usize| Client {
        target: format!("/assets/2026/images/photo-{:04}.jpg?w=640", n * 37 % 10_000),
        ip: match v6 {
            false => Ipv4Addr::new(203, 0, 113, (n * 7 % 250) as u8).into(),
            true => Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, n as u16).into(),
        },
        header: format!("user-{}", n * 7919),
    };
    (0..KEYS).map(client).collect()
}

fn bench(criterion: &mut Criterion, group: &str, mode: &str, peers: usize, clients: &[Client]) {
    let (view, _open) = view(mode, peers);
    let tried = Tried::default();
    let mut n = 0usize;
    let mut group = criterion.benchmark_group(group);
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::new(mode, peers), |b| {
        b.iter(|| {
            n += 1;
            let client = &clients[n % KEYS];
            let key = RequestKey {
                target: client.target.as_bytes(),
                client: Some(client.ip),
                header: Some(client.header.as_bytes()),
            };
            let random = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            pick(
                black_box(&view),
                black_box(&key),
                &tried,
                Timestamp(2),
                random,
            )
        });
    });
}

fn table(criterion: &mut Criterion, peers: usize) {
    let names: Vec<String> = (0..peers).map(|n| format!("10.1.0.{n}:8080")).collect();
    let mut group = criterion.benchmark_group("build");
    group.sample_size(50).sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::new("maglev", peers), |b| {
        b.iter(|| Maglev::new(black_box(&names).iter().map(|n| (n.as_str(), 1.0))));
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(400)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(40))
        .configure_from_args();
    let (v4, v6) = (clients(false), clients(true));
    for mode in Mode::WORDS {
        for peers in [4, 10, 100] {
            bench(&mut criterion, "pick", mode, peers, &v4);
        }
    }
    for mode in ["ip_hash", "ip_maglev"] {
        bench(&mut criterion, "pick v6", mode, 10, &v6);
    }
    for peers in [4, 100] {
        table(&mut criterion, peers);
    }
    criterion.final_summary();
}
