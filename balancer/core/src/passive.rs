//! Passive bans: what failed requests say about a peer, between probes. One word of memory per peer, no lock.

use std::sync::atomic::{AtomicU64, Ordering};

use hancock_proto::time::Timestamp;

/// When a peer is banned, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures within the window that ban; 0: never.
    pub max_fails: u32,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// What counts, and from when the window runs.
    pub rule: Rule,
}

/// Whose accounting is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The original's: the window starts at the first pick; refused, lost, timed out and 502 count.
    FromPick,
    /// Ours: the window starts at the failure; a connection that could not be opened counts, and one that ended without an answer (a dead
    /// container's port may still be held open by its engine). Slow answers and 502 do not: they may be the request's own fault.
    FromFailure,
}

impl Rule {
    fn counts(self, failure: Failure) -> bool {
        self == Rule::FromPick || failure.before_request() || failure == Failure::Lost
    }
}

/// What happened to one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Connection refused.
    Refused,
    /// No connection within the time for it, or no route.
    Unreachable,
    /// A new connection ended after the request was sent, before an answer.
    Lost,
    /// No answer within the time for it.
    TimedOut,
    /// The origin answered 502.
    BadGateway,
}

impl Failure {
    /// Nothing of the request reached the peer.
    pub fn before_request(self) -> bool {
        matches!(self, Failure::Refused | Failure::Unreachable)
    }
}

/// One peer's record: start of the window (milliseconds, 48 bits), failures (15 bits), banned (1 bit). Zero: clean.
#[derive(Debug, Default)]
pub struct Record(AtomicU64);

const FAILS_MAX: u64 = 0x7fff;

fn pack(start: u64, fails: u64, banned: bool) -> u64 {
    (start << 16) | (fails.min(FAILS_MAX) << 1) | u64::from(banned)
}

fn unpack(word: u64) -> (u64, u64, bool) {
    (word >> 16, (word >> 1) & FAILS_MAX, word & 1 == 1)
}

impl Record {
    /// Whether picks must avoid the peer now.
    pub fn is_banned(&self, limits: Limits, now: Timestamp) -> bool {
        let (start, _, banned) = unpack(self.0.load(Ordering::Relaxed));
        banned && now.0 < start.saturating_add(limits.window_ms)
    }

    /// Whether a ban is on record, expired or not: such a peer does not count as "another one left".
    pub fn has_ban(&self) -> bool {
        unpack(self.0.load(Ordering::Relaxed)).2
    }

    /// The peer was picked: a window that ran out begins anew.
    pub fn picked(&self, limits: Limits, now: Timestamp) {
        if limits.max_fails == 0 {
            return;
        }
        let word = self.0.load(Ordering::Relaxed);
        let (start, ..) = unpack(word);
        if word == 0 || now.0 >= start.saturating_add(limits.window_ms) {
            // Losing the race means another pick has just done the same.
            let _ = self.0.compare_exchange(
                word,
                pack(now.0, 0, false),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// An attempt failed. `others` tells whether another peer of the service has no ban on record; the last one is never banned. Answers
    /// whether this very failure put a ban on record.
    pub fn failed(
        &self,
        limits: Limits,
        failure: Failure,
        others: impl Fn() -> bool,
        now: Timestamp,
    ) -> bool {
        if limits.max_fails == 0 || !limits.rule.counts(failure) {
            return false;
        }
        let mut bans = false;
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let (start, fails, banned) = unpack(word);
                let fails = fails + 1;
                let ban = banned || (fails >= u64::from(limits.max_fails) && others());
                bans = ban && !banned;
                let start = if limits.rule == Rule::FromFailure {
                    now.0
                } else {
                    start
                };
                Some(pack(start, fails, ban))
            });
        bans
    }

    /// Checks that had failed pass again, so another process answers now and what is on record was said of the former.
    pub fn forgive(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// A connection opened, so whatever was on record is over. Only under our own rule; the original keeps counting.
    pub fn connected(&self, limits: Limits) {
        if limits.rule == Rule::FromFailure && self.has_ban() {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLARDAR: Limits = Limits {
        max_fails: 2,
        window_ms: 4000,
        rule: Rule::FromPick,
    };

    fn at(ms: u64) -> Timestamp {
        Timestamp(1_000_000 + ms)
    }

    #[test]
    fn the_window_starts_at_the_first_pick() {
        let record = Record::default();
        record.picked(SLARDAR, at(0));
        assert!(!record.failed(SLARDAR, Failure::Lost, || true, at(2000)));
        assert!(!record.is_banned(SLARDAR, at(2000)));
        assert!(record.failed(SLARDAR, Failure::BadGateway, || true, at(3000)));
        assert!(!record.failed(SLARDAR, Failure::BadGateway, || true, at(3000)));
        assert!(record.is_banned(SLARDAR, at(3999)));
        assert!(!record.is_banned(SLARDAR, at(4000)));
        assert!(
            record.has_ban(),
            "an expired ban stays on record until the next pick"
        );
        record.picked(SLARDAR, at(4100));
        assert!(!record.has_ban());
    }

    #[test]
    fn the_last_one_is_never_banned() {
        let record = Record::default();
        record.picked(SLARDAR, at(0));
        for _ in 0..5 {
            record.failed(SLARDAR, Failure::Refused, || false, at(1));
        }
        assert!(!record.is_banned(SLARDAR, at(2)));
    }

    #[test]
    fn ours_counts_dead_connections_only_and_from_the_failure() {
        let ours = Limits {
            max_fails: 1,
            window_ms: 1000,
            rule: Rule::FromFailure,
        };
        let record = Record::default();
        record.picked(ours, at(0));
        record.failed(ours, Failure::TimedOut, || true, at(900));
        record.failed(ours, Failure::BadGateway, || true, at(900));
        assert!(!record.is_banned(ours, at(900)));
        record.failed(ours, Failure::Refused, || true, at(900));
        assert!(record.is_banned(ours, at(1899)) && !record.is_banned(ours, at(1900)));
        record.connected(ours);
        assert!(!record.is_banned(ours, at(901)));
    }

    #[test]
    fn without_limits_nothing_is_recorded() {
        let never = Limits {
            max_fails: 0,
            ..SLARDAR
        };
        let record = Record::default();
        record.picked(never, at(0));
        record.failed(never, Failure::Refused, || true, at(0));
        assert!(!record.has_ban());
    }
}
