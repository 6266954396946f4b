//! One slow peer of ten: the 99th percentile of `p2c` beside the rotation's, in a world of events with a clock of its own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use hancock_balancer_core::peer::Ticket;
use hancock_balancer_core::pick::Tried;
use hancock_balancer_core::table::Peers;
use hancock_proto::time::Timestamp;
use serde_json::json;

use crate::world::{Dice, level, pick, view};

const PEERS: usize = 10;
const REQUESTS: usize = 30_000;
/// Requests per millisecond, at random moments.
const RATE: f64 = 2.0;

/// Microseconds one answer takes: between half and one and a half times the usual, twenty times as long from the slow peer.
fn service_time(peer: usize, dice: &mut Dice) -> u64 {
    let usual = if peer == 3 { 100_000.0 } else { 5_000.0 };
    (usual * (0.5 + dice.unit())) as u64
}

/// Latencies in microseconds, sorted, and how many of the requests the slow peer got.
fn run(mode: &str, seed: u64) -> (Vec<u64>, usize) {
    let mut dice = Dice(seed);
    let doc = json!({"mode": mode, "cluster": [level(&[1.0; PEERS])]});
    let view = view(&mut Peers::default(), doc);
    let mut open: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut tickets: Vec<Option<(Ticket, u64)>> = Vec::new();
    let (mut clock, mut latencies, mut slow) = (0.0, Vec::new(), 0);
    for id in 0..REQUESTS {
        clock += -(1.0 - dice.unit()).ln() / RATE * 1000.0;
        let now = clock as u64;
        while let Some(Reverse((ended, id))) = open.peek().copied()
            && ended <= now
        {
            open.pop();
            let (ticket, began) = tickets[id].take().expect("it was open");
            let took = Duration::from_micros(ended - began);
            let latency = ticket.peer().latency();
            latency.took(took, true, Timestamp(ended / 1000));
        }
        let at = pick(&view, "/", &Tried::default(), now / 1000, dice.next()).expect("all are up");
        slow += usize::from(at == 3);
        let took = service_time(at, &mut dice);
        latencies.push(took);
        tickets.push(Some((Ticket::new(view.entries()[at].peer.clone()), now)));
        open.push(Reverse((now + took, id)));
    }
    latencies.sort_unstable();
    (latencies, slow)
}

fn p99(sorted: &[u64]) -> u64 {
    sorted[sorted.len() * 99 / 100]
}

#[test]
fn the_99th_percentile_is_at_most_half_of_the_rotations() {
    for seed in 1..=3 {
        let ((rotation, _), (p2c, slow)) = (run("rr", seed), run("p2c", seed));
        let (of_rotation, of_p2c) = (p99(&rotation), p99(&p2c));
        println!(
            "seed {seed}: p99 {of_rotation} us in rotation, {of_p2c} us with p2c; the slow one got {slow} of {REQUESTS}"
        );
        assert!(of_p2c * 2 <= of_rotation, "{of_p2c} and {of_rotation}");
        assert!(
            slow > 0,
            "the slow one is asked now and then, or nobody learns that it is fast again"
        );
    }
}
