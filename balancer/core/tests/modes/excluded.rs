//! In every mode: nobody tried, banned or judged bad is picked, levels go in order, and somebody is picked whenever somebody may be.

use hancock_balancer_core::passive::Failure;
use hancock_balancer_core::peer::Verdict;
use hancock_balancer_core::pick::{self, Tried};
use hancock_balancer_core::table::{Peers, View};
use hancock_balancer_core::upstream::Mode;
use hancock_proto::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::world::{self, Dice, level, view};

const NOW: u64 = 10_000;

/// What is wrong with one peer, and how busy and how slow it is.
#[derive(Debug, Clone)]
struct Peer {
    weight: u8,
    err: bool,
    banned: bool,
    tried: bool,
    millis: Option<u64>,
}

fn any_peer() -> impl Strategy<Value = Peer> {
    (
        0u8..4,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(1u64..500),
    )
        .prop_map(|(weight, err, banned, tried, millis)| Peer {
            weight,
            err,
            banned,
            tried,
            millis,
        })
}

fn build(mode: &str, levels: &[Vec<Peer>], slow_start: u64) -> View {
    let cluster: Vec<_> = levels
        .iter()
        .enumerate()
        .map(|(at, peers)| {
            let weights: Vec<f64> = peers.iter().map(|p| f64::from(p.weight)).collect();
            let mut level = level(&weights);
            for server in level["servers"].as_array_mut().expect("servers") {
                server["host"] = json!(format!("10.0.{at}.1"));
                server["max_fails"] = json!(1);
            }
            level
        })
        .collect();
    let doc = json!({"mode": mode, "slow_start": slow_start, "cluster": cluster});
    let view = view(&mut Peers::default(), doc);
    for (entry, peer) in view.entries().iter().zip(levels.iter().flatten()) {
        if peer.err {
            entry.peer.set_verdict(Verdict::Err);
        }
        if peer.banned {
            let record = entry.peer.record();
            record.picked(entry.limits, Timestamp(NOW));
            record.failed(entry.limits, Failure::Refused, || true, Timestamp(NOW));
        }
        if let Some(millis) = peer.millis {
            let took = std::time::Duration::from_millis(millis);
            entry.peer.latency().took(took, true, Timestamp(NOW));
        }
    }
    view
}

/// Tables are dear without optimisation.
fn cases() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(24)
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn only_who_may_be_picked_is(
        levels in proptest::collection::vec(proptest::collection::vec(any_peer(), 1..6), 1..4),
        path in "/[a-z]{0,6}",
        random in any::<u64>(),
        slow_start in 0u64..3,
    ) {
        for mode in Mode::WORDS {
            let view = build(mode, &levels, slow_start);
            let peers: Vec<(usize, &Peer)> = levels
                .iter()
                .enumerate()
                .flat_map(|(at, level)| level.iter().map(move |p| (at, p)))
                .collect();
            let mut tried = Tried::default();
            for (entry, (_, peer)) in view.entries().iter().zip(&peers) {
                if peer.tried {
                    tried.add(entry.peer.clone());
                }
            }
            let fit = |p: &Peer| !p.err && !p.banned && !p.tried;
            let first = peers.iter().filter(|(_, p)| fit(p)).map(|(at, _)| *at).min();
            let picked = world::pick(&view, &path, &tried, NOW, random);
            prop_assert_eq!(picked.map(|at| peers[at].0), first, "{}: the first level that has one", mode);
            prop_assert!(picked.is_none_or(|at| fit(peers[at].1)), "{mode}");
        }
    }
}

/// A peer without weight waits until no other of its level is left. The original's rings know no weights.
#[test]
fn without_weight_a_peer_is_the_last_resort() {
    let mut dice = Dice(3);
    for mode in Mode::WORDS
        .into_iter()
        .filter(|mode| !mode.ends_with("hash"))
    {
        let doc = json!({"mode": mode, "cluster": [level(&[0.0, 2.0, 1.0])]});
        let view = view(&mut Peers::default(), doc);
        for n in 0..50 {
            let (path, mut tried) = (format!("/{n}"), Tried::default());
            for left in [3, 2, 1] {
                let at = world::pick(&view, &path, &tried, NOW, dice.next());
                let at = at.expect("somebody is left");
                assert_eq!(at == 0, left == 1, "{mode}");
                tried.add(view.entries()[at].peer.clone());
            }
        }
    }
}

#[test]
fn peers_of_unchanged_addresses_keep_what_is_known_of_them() {
    let mut peers = Peers::default();
    let before = view(
        &mut peers,
        json!({"mode": "p2c", "cluster": [level(&[1.0, 1.0])]}),
    );
    let kept = before.entries()[0].peer.clone();
    let took = std::time::Duration::from_millis(300);
    kept.latency().took(took, true, Timestamp(NOW));
    let doc = json!({"mode": "p2c", "cluster": [level(&[2.0, 1.0, 1.0])]});
    let after = view(&mut peers, doc);
    let micros = after.entries()[0].peer.latency().micros(Timestamp(NOW));
    assert_eq!(micros, Some(300_000.0));
    assert!(pick::available(&after, &after.entries()[0], Timestamp(NOW)));
}

#[test]
fn documents_that_would_fill_a_node_are_refused() {
    let refused = |doc| world::upstream(doc).expect_err("too large");
    let many = vec![1.0; 1001];
    assert_eq!(
        refused(json!({"mode": "ip_maglev", "cluster": [level(&many)]})),
        "cluster[0].servers: 1001 are too many for a maglev table; at most 1000"
    );
    let levels: Vec<_> = (0..17).map(|_| level(&[1.0, 1.0])).collect();
    assert_eq!(
        refused(json!({"mode": "maglev", "cluster": levels})),
        "cluster: 17 levels are too many for maglev tables; at most 16"
    );
    assert!(
        refused(json!({"slow_start": -1, "cluster": [level(&[1.0])]})).starts_with("slow_start: ")
    );
}
