//! A peer that comes back, or joins, grows into its share; the sequences of documents without a slow start stay what they were.

use hancock_balancer_core::peer::{Ticket, Verdict};
use hancock_balancer_core::pick::Tried;
use hancock_balancer_core::table::{Peers, View};
use serde_json::{Value, json};

use crate::world::{Dice, level, pick, view};

fn doc(mode: &str, weights: &[f64], slow_start: u64) -> Value {
    json!({"mode": mode, "slow_start": slow_start, "cluster": [level(weights)]})
}

/// Shares over a thousand picks at one moment.
fn shares(view: &View, now: u64) -> Vec<f64> {
    let mut picks = vec![0.0; view.entries().len()];
    let mut dice = Dice(now);
    // What stays open would even out what the slow start keeps apart, so every request ends at once.
    for _ in 0..1000 {
        let at = pick(view, "/", &Tried::default(), now, dice.next()).expect("somebody");
        drop(Ticket::new(view.entries()[at].peer.clone()));
        picks[at] += 0.001;
    }
    picks
}

#[test]
fn who_comes_back_grows_into_its_share() {
    for mode in ["rr", "least_conn", "p2c"] {
        let view = view(&mut Peers::default(), doc(mode, &[1.0; 4], 10));
        let peer = &view.entries()[2].peer;
        assert!(
            (shares(&view, 1000)[2] - 0.25).abs() < 0.05,
            "{mode}: no ramp at the beginning"
        );
        peer.set_verdict(Verdict::Err);
        assert_eq!(shares(&view, 2000)[2], 0.0, "{mode}");
        peer.set_verdict(Verdict::Ok);
        for (at, weight) in [(3000, 0.1), (8000, 0.55), (13_000, 1.0), (14_000, 1.0)] {
            let (share, fair) = (shares(&view, at)[2], weight / (3.0 + weight));
            assert!(
                (share - fair).abs() < 0.05,
                "{mode} at {at}: {share}, fair is {fair}"
            );
        }
    }
}

#[test]
fn who_joins_a_list_that_serves_grows_too() {
    let mut peers = Peers::default();
    let first = view(&mut peers, doc("rr", &[1.0, 1.0], 10));
    assert_eq!(
        shares(&first, 1000),
        [0.5, 0.5].map(|s| shares(&first, 1000)[0] / s * s)
    );
    let joined = view(&mut peers, doc("rr", &[1.0, 1.0, 1.0], 10));
    let share = shares(&joined, 1000)[2];
    assert!((share - 0.1 / 2.1).abs() < 0.01, "{share}");
}

#[test]
fn the_only_peer_is_always_available() {
    for mode in ["rr", "least_conn", "p2c"] {
        let view = view(&mut Peers::default(), doc(mode, &[1.0, 1.0], 10));
        for entry in view.entries() {
            entry.peer.set_verdict(Verdict::Err);
        }
        view.entries()[1].peer.set_verdict(Verdict::Ok);
        assert!((shares(&view, 1000)[1] - 1.0).abs() < 1e-9, "{mode}");
    }
}

#[test]
fn without_a_slow_start_nothing_ramps_then_or_later() {
    let mut peers = Peers::default();
    let sequence = |view: &View| -> Vec<usize> {
        let next = |_| pick(view, "/", &Tried::default(), 1000, 0);
        (0..7).filter_map(next).collect()
    };
    let without = view(&mut peers, doc("rr", &[5.0, 1.0, 1.0], 0));
    for verdict in [Verdict::Err, Verdict::Ok] {
        without.entries()[0].peer.set_verdict(verdict);
    }
    assert_eq!(sequence(&without), [0, 0, 1, 0, 2, 0, 0]);
    // What came back before there was a slow start has come back.
    let with = view(&mut peers, doc("rr", &[5.0, 1.0, 1.0], 10));
    assert_eq!(sequence(&with), [0, 0, 1, 0, 2, 0, 0]);
}
