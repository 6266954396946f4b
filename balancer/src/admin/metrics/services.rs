//! What is counted per service, and per peer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hancock_balancer_core::upstream::PeerKey;

use super::{Page, load};
use crate::control::now;
use crate::live::{Service, Stats};
use crate::meter::BOUNDS_MS;

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Most peers that have series.
const MAX_PEERS: usize = 10_000;

type Services = [Arc<Service>];

/// Answers and how long they took.
pub(super) fn requests(page: &mut Page, services: &Services) {
    let mut answers = page.family(
        "hancock_requests_total",
        "counter",
        "Requests by service and class of the answer's status.",
    );
    for s in services {
        for (class, count) in CLASSES.iter().zip(&s.stats.traffic.answers) {
            answers.sample(&[("service", &s.name), ("class", class)], load(count));
        }
    }
    let mut durations = page.family(
        "hancock_request_duration_seconds",
        "histogram",
        "Time from a request's head to the end of its answer; services without requests are left out.",
    );
    for s in services {
        let counts = s.stats.traffic.durations.each_ref().map(load);
        let total: u64 = counts.iter().sum();
        if total == 0 {
            continue;
        }
        let (mut below, bounds) = (0, BOUNDS_MS.iter().map(|ms| seconds(*ms)));
        for (bound, count) in bounds.zip(counts) {
            below += count;
            durations.part("_bucket", &[("service", &s.name), ("le", &bound)], below);
        }
        durations.part("_bucket", &[("service", &s.name), ("le", "+Inf")], total);
        let sum = seconds(load(&s.stats.traffic.total_ms));
        durations.part("_sum", &[("service", &s.name)], sum);
        durations.part("_count", &[("service", &s.name)], total);
    }
}

fn seconds(ms: u64) -> String {
    (ms as f64 / 1000.0).to_string()
}

/// Attempts by peer. Peers nobody has used have no series.
pub(super) fn peers(page: &mut Page, services: &Services) {
    let mut left = MAX_PEERS;
    let mut left_out = 0;
    let mut answers = page.family(
        "hancock_peer_answers_total",
        "counter",
        "Attempts by peer and class of the answer's status; none: there was no answer.",
    );
    for s in services {
        let view = s.load();
        let used = view
            .view
            .entries()
            .iter()
            .map(|e| (e.peer.key(), e.peer.answers()));
        // Once, where levels share one.
        let used: BTreeMap<&PeerKey, _> = used.filter(|(_, a)| a.iter().any(|n| *n > 0)).collect();
        for (key, counts) in used {
            if left == 0 {
                left_out += 1;
                continue;
            }
            left -= 1;
            let address = key.to_string();
            let instance = key.instance.as_ref().map(ToString::to_string);
            let instance = instance.unwrap_or_default();
            for (class, count) in CLASSES.iter().zip(counts) {
                let labels = [
                    ("service", &*s.name),
                    ("peer", &address),
                    ("instance", &instance),
                    ("class", class),
                ];
                answers.sample(&labels, count);
            }
        }
    }
    page.family(
        "hancock_peers_left_out",
        "gauge",
        "Used peers that have no series because there are too many.",
    )
    .sample(&[], left_out);
}

type Counter = fn(&Stats) -> &AtomicU64;

/// Retries, bans, checks and documents.
pub(super) fn changes(page: &mut Page, services: &Services) {
    let each: [(&str, &str, Counter); 3] = [
        (
            "hancock_retries_total",
            "Attempts repeated on another connection.",
            |s| &s.retries,
        ),
        (
            "hancock_bans_total",
            "Peers put aside for a while after failed requests.",
            |s| &s.bans,
        ),
        ("hancock_swaps_total", "Swaps of a service's peers.", |s| {
            &s.swaps
        }),
    ];
    for (name, help, of) in each {
        let mut family = page.family(name, "counter", help);
        for s in services {
            family.sample(&[("service", &s.name)], load(of(&s.stats)));
        }
    }
    let help = "Active checks of a service's peers by result.";
    let mut probes = page.family("hancock_probes_total", "counter", help);
    for s in services {
        for (result, count) in [("good", &s.stats.probes_good), ("bad", &s.stats.probes_bad)] {
            probes.sample(&[("service", &s.name), ("result", result)], load(count));
        }
    }
    let help = "Index of the document a service is served by; 0: not written by a master.";
    let mut index = page.family("hancock_index", "gauge", help);
    for s in services {
        index.sample(&[("service", &s.name)], load(&s.stats.index));
    }
    let help = "Time since a service's document was last changed here.";
    let mut age = page.family("hancock_index_age_seconds", "gauge", help);
    for s in services {
        let swapped = load(&s.stats.swapped_ms);
        if swapped > 0 {
            let passed = now().0.saturating_sub(swapped);
            age.sample(&[("service", &s.name)], seconds(passed));
        }
    }
}
