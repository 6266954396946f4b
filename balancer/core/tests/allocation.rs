//! Choosing a peer allocates nothing, in no mode, for no key. A binary of its own: the counter takes the allocator's place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::passive::Failure;
use hancock_balancer_core::peer::{Ticket, Verdict};
use hancock_balancer_core::pick::{Tried, pick};
use hancock_balancer_core::table::{Peers, View};
use hancock_balancer_core::upstream::{Mode, Upstream};
use hancock_proto::time::Timestamp;
use serde_json::json;

fn view(mode: &str, peers: usize) -> View {
    let servers: Vec<_> = (0..peers)
        .map(|n| json!({"host": "10.0.0.1", "port": n + 1, "max_fails": 2, "weight": n % 3 + 1}))
        .collect();
    let doc = json!({"mode": mode, "slow_start": 5, "cluster": [{"servers": servers}]});
    let doc = serde_json::from_value(doc).expect("a document");
    let upstream = Upstream::new("web", Arc::new(doc)).expect("a valid one");
    View::new(&upstream, &mut Peers::default())
}

/// A request's life as far as the core takes part: a pick, a failure, another pick, an answer.
fn request(view: &View, key: &RequestKey<'_>, random: u64) {
    let now = Timestamp(5000 + random);
    let mut tried = Tried::default();
    for answered in [false, true] {
        let Some(at) = pick(view, key, &tried, now, random) else {
            return;
        };
        let entry = &view.entries()[at];
        let ticket = Ticket::new(entry.peer.clone());
        let took = Duration::from_millis(3);
        entry.peer.latency().took(took, answered, now);
        if !answered {
            let record = entry.peer.record();
            record.failed(entry.limits, Failure::Refused, || true, now);
            tried.add(ticket.peer().clone());
        }
    }
}

#[test]
fn no_pick_allocates() {
    let counted = allocation_counter::measure(|| drop(vec![1u8]));
    assert_eq!(counted.count_total, 1, "the counter counts");
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, 9);
    let clients: [Option<IpAddr>; 3] = [
        Some(Ipv4Addr::new(203, 0, 113, 200).into()),
        Some(v6.into()),
        None,
    ];
    let targets: [&[u8]; 3] = [b"/a/b?c", b"//a/%2e%2e/./b%41/../c/", b""];
    for (mode, peers) in Mode::WORDS.into_iter().flat_map(|m| [(m, 4), (m, 30)]) {
        let view = view(mode, peers);
        view.entries()[1].peer.set_verdict(Verdict::Err);
        view.entries()[2].peer.set_verdict(Verdict::Err);
        view.entries()[2].peer.set_verdict(Verdict::Ok);
        let counted = allocation_counter::measure(|| {
            for random in 0..50 {
                for (target, client) in targets.into_iter().zip(clients) {
                    let header = (random % 2 == 0).then_some(target);
                    let key = RequestKey {
                        target,
                        client,
                        header,
                    };
                    request(&view, &key, random);
                }
            }
        });
        assert_eq!(counted.count_total, 0, "{mode} with {peers} peers");
    }
}
