//! What is counted: of the whole balancer, and of each service's requests. Atomics only, so that counting never waits; what every request
//! writes lies on cache lines of its own, apart from what every request reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the classes of durations, in milliseconds; there is one more class above.
pub(crate) const BOUNDS_MS: [u64; 13] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

/// Requests of one service. A fast one touches one cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Traffic {
    /// Answers by first digit of the status; 0: ended without an answer.
    pub(crate) answers: [AtomicU64; 6],
    /// Milliseconds of all of them together.
    pub(crate) total_ms: AtomicU64,
    /// Each request in the first class that holds it.
    pub(crate) durations: [AtomicU64; BOUNDS_MS.len() + 1],
}

impl Traffic {
    /// A request ended with `status` after `took`; 0: without an answer.
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let class = BOUNDS_MS.partition_point(|bound| *bound < ms);
        count(&self.answers[usize::from(status / 100).min(5)]);
        count(&self.durations[class]);
        if ms > 0 {
            self.total_ms.fetch_add(ms, Ordering::Relaxed);
        }
    }
}

/// Why a connection was closed as soon as it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// Its address has too many.
    Address,
    /// There are too many.
    Total,
}

/// What the reasons of refused heads are called; the last one is any other.
pub(crate) const REASONS: [&str; 19] = [
    "ambiguous_length",
    "bare_lf",
    "blank_lines",
    "body_too_large",
    "chunk",
    "chunk_extra",
    "chunk_size",
    "connection",
    "content_length",
    "header",
    "header_too_large",
    "host",
    "method",
    "request_line",
    "slow_header",
    "target_too_long",
    "too_many_headers",
    "transfer_encoding",
    "other",
];

/// What probes ask for.
pub(crate) const KINDS: [&str; 5] = ["tcp", "http", "redis", "mysql", "command"];

/// Of the whole balancer.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Connections of clients.
    pub(crate) accepted: AtomicU64,
    /// Closed at once: one address had too many, there were too many.
    pub(crate) turned_away: [AtomicU64; 2],
    /// Heads that were no request worth serving, in the order of [`REASONS`].
    pub(crate) refused: [AtomicU64; REASONS.len()],
    /// Probes by kind: good, bad.
    pub(crate) probes: [[AtomicU64; 2]; KINDS.len()],
    /// Connections to origins that held something nobody had asked for.
    pub(crate) unasked: AtomicU64,
    /// The same as engines from elsewhere count them, one counter each.
    unexpected: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Default for Meter {
    fn default() -> Self {
        let zero = |_| AtomicU64::new(0);
        Self {
            accepted: zero(0),
            turned_away: Default::default(),
            refused: std::array::from_fn(zero),
            probes: Default::default(),
            unasked: AtomicU64::new(0),
            unexpected: Mutex::default(),
        }
    }
}

impl Meter {
    /// A connection was closed at once.
    pub(crate) fn turned_away(&self, why: TurnedAway) {
        count(&self.turned_away[why as usize]);
    }

    /// A head was refused.
    pub(crate) fn refused(&self, reason: &str) {
        let known = REASONS.iter().position(|r| *r == reason);
        count(&self.refused[known.unwrap_or(REASONS.len() - 1)]);
    }

    /// A probe ended.
    pub(crate) fn probed(&self, kind: usize, good: bool) {
        count(&self.probes[kind.min(KINDS.len() - 1)][usize::from(!good)]);
    }

    /// An engine counts what its connections to origins bring unasked.
    pub(crate) fn watch_unexpected(&self, counter: Arc<AtomicU64>) {
        self.counters().push(counter);
    }

    /// What connections to origins brought unasked, all engines together.
    pub(crate) fn unexpected(&self) -> u64 {
        let each = self.counters();
        let counted: u64 = each.iter().map(|c| c.load(Ordering::Relaxed)).sum();
        counted + self.unasked.load(Ordering::Relaxed)
    }

    fn counters(&self) -> std::sync::MutexGuard<'_, Vec<Arc<AtomicU64>>> {
        self.unexpected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_request_touches_one_cache_line() {
        let traffic = Traffic::default();
        let start = std::ptr::from_ref(&traffic).addr();
        let end = std::ptr::from_ref(&traffic.durations[1]).addr();
        assert_eq!((start % 64, end - start), (0, 64));
    }

    #[test]
    fn durations_fall_into_the_first_class_that_holds_them() {
        let traffic = Traffic::default();
        for ms in [0, 1, 2, 3, 10_000, 10_001] {
            traffic.answered(200, Duration::from_millis(ms));
        }
        let classes = traffic
            .durations
            .each_ref()
            .map(|c| c.load(Ordering::Relaxed));
        assert_eq!(classes, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(traffic.total_ms.load(Ordering::Relaxed), 20_007);
        assert_eq!(traffic.answers[2].load(Ordering::Relaxed), 6);
    }

    #[test]
    fn unknown_reasons_are_counted_too() {
        let meter = Meter::default();
        meter.refused("bare_lf");
        meter.refused("never heard of");
        assert_eq!(meter.refused[1].load(Ordering::Relaxed), 1);
        assert_eq!(meter.refused[18].load(Ordering::Relaxed), 1);
    }
}
