//! Chooses a peer for one attempt: levels in order, verdicts, bans, and what this request has tried already.

use std::sync::{Arc, PoisonError};

use hancock_proto::time::Timestamp;

use crate::key::RequestKey;
use crate::peer::Peer;
use crate::table::{Entry, LevelView, View, Way};
use crate::{least, p2c};

/// Tried peers that need no allocation: as many as a request may try.
const FIRST: usize = 3;

/// Peers one request or connection has tried.
#[derive(Debug, Default)]
pub struct Tried {
    first: [Option<Arc<Peer>>; FIRST],
    /// Only connections try so many; their attempts are limited.
    more: Vec<Arc<Peer>>,
}

impl Tried {
    /// Remembers a peer.
    pub fn add(&mut self, peer: Arc<Peer>) {
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(free) => *free = Some(peer),
            None => self.more.push(peer),
        }
    }

    /// Whether it was tried. The same address listed twice is the same peer.
    pub fn contains(&self, peer: &Arc<Peer>) -> bool {
        let mut all = self.first.iter().flatten().chain(&self.more);
        all.any(|p| Arc::ptr_eq(p, peer))
    }
}

/// The peer for the next attempt, as a position in [`View::entries`]. None: nobody is left. `random`: 64 random bits, for modes that draw.
pub fn pick(
    view: &View,
    key: &RequestKey<'_>,
    tried: &Tried,
    now: Timestamp,
    random: u64,
) -> Option<usize> {
    let question = Question {
        view,
        hash: key.hash(view.mode),
        now,
        random,
    };
    let fit = |e: &Entry| !tried.contains(&e.peer) && available(view, e, now);
    let chosen = question.first_level(fit);
    let chosen = match chosen {
        None if view.protected => question.first_level(|e| !tried.contains(&e.peer)),
        other => other,
    }?;
    let entry = &view.entries[chosen];
    entry.peer.record().picked(entry.limits, now);
    Some(chosen)
}

/// Whether a peer may get requests: its verdict is not bad and it is not banned.
pub fn available(view: &View, entry: &Entry, now: Timestamp) -> bool {
    use crate::peer::Verdict;
    let judged_bad = view.checked && entry.peer.verdict() == Verdict::Err;
    !judged_bad && !entry.peer.record().is_banned(entry.limits, now)
}

/// Whether another peer than this one has no ban on record, over all levels.
pub fn others_unbanned(view: &View, peer: &Arc<Peer>) -> bool {
    let mut others = view.entries.iter().filter(|e| !Arc::ptr_eq(&e.peer, peer));
    others.any(|e| !e.peer.record().has_ban())
}

/// What is the same for all levels and peers.
struct Question<'a> {
    view: &'a View,
    hash: u64,
    now: Timestamp,
    random: u64,
}

impl Question<'_> {
    fn first_level(&self, fit: impl Fn(&Entry) -> bool) -> Option<usize> {
        let mut levels = self.view.levels.iter();
        levels.find_map(|level| self.in_level(level, &fit))
    }

    fn in_level(&self, level: &LevelView, fit: impl Fn(&Entry) -> bool) -> Option<usize> {
        let entries = &self.view.entries[level.span.clone()];
        let fit = |at: usize| fit(&entries[at]);
        let weight = |at: usize| self.weight(&entries[at]);
        let chosen = match &level.way {
            Way::Only => (!entries.is_empty() && fit(0)).then_some(0),
            Way::Rotation(rotation) => rotation
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next(weight, fit),
            Way::LeastConn(rotation) => least::choose(
                rotation,
                entries.len(),
                weight,
                |at| open(&entries[at]),
                fit,
            ),
            Way::P2c(odds) => {
                let cost = |at: usize| {
                    let micros = entries[at].peer.latency().micros(self.now);
                    p2c::cost(micros, open(&entries[at]), odds.share(at))
                };
                let ramp = |at: usize| self.ramp(&entries[at]);
                p2c::choose(odds, ramp, cost, fit, self.random)
            }
            Way::Ring(ring) => ring.find(self.hash as u32, fit),
            Way::Maglev(table) => table.find(self.hash, fit),
        };
        chosen.map(|at| level.span.start + at)
    }

    /// With slow start, what a peer has of its weight by now.
    fn weight(&self, entry: &Entry) -> f64 {
        entry.weight * self.ramp(entry)
    }

    fn ramp(&self, entry: &Entry) -> f64 {
        match self.view.slow_start {
            0 => 1.0,
            millis => entry.peer.ramp().share(millis, self.now),
        }
    }
}

fn open(entry: &Entry) -> u64 {
    let (requests, sessions) = entry.peer.open();
    requests + sessions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passive::Failure;
    use crate::peer::Verdict;
    use crate::table::Peers;
    use crate::upstream::Upstream;

    const KEY: RequestKey<'_> = RequestKey {
        target: b"/",
        client: None,
        header: None,
    };

    fn view(json: &str) -> View {
        let doc = serde_json::from_str(json).expect("a document");
        let upstream = Upstream::new("web", Arc::new(doc)).expect("a valid one");
        View::new(&upstream, &mut Peers::default())
    }

    fn next(view: &View, tried: &Tried) -> Option<usize> {
        pick(view, &KEY, tried, Timestamp(5000), 0)
    }

    const TWO_LEVELS: &str = r#"{"cluster":[{"servers":[{"host":"a","port":1},{"host":"b","port":1}]},
        {"servers":[{"host":"c","port":1}]}]}"#;

    #[test]
    fn the_second_level_waits_for_the_first_to_be_empty() {
        let view = view(TWO_LEVELS);
        assert_eq!(next(&view, &Tried::default()), Some(0));
        view.entries[0].peer.set_verdict(Verdict::Err);
        assert_eq!(next(&view, &Tried::default()), Some(1));
        view.entries[1].peer.set_verdict(Verdict::Err);
        assert_eq!(next(&view, &Tried::default()), Some(2));
        view.entries[2].peer.set_verdict(Verdict::Err);
        assert_eq!(next(&view, &Tried::default()), None);
        view.entries[1].peer.set_verdict(Verdict::Unstable);
        assert_eq!(next(&view, &Tried::default()), Some(1));
    }

    #[test]
    fn a_tried_peer_is_not_asked_again() {
        let view = view(TWO_LEVELS);
        let mut tried = Tried::default();
        for expected in [Some(0), Some(1), Some(2), None] {
            let got = next(&view, &tried);
            assert_eq!(got, expected);
            if let Some(at) = got {
                tried.add(view.entries[at].peer.clone());
            }
        }
    }

    #[test]
    fn ours_picks_a_doubtful_peer_rather_than_none() {
        let view = view(
            r#"{"cluster":[{"servers":[{"host":"a","port":1,"instance":"web-1"}]}],
            "hancock":{"app":"web","index":1,"accept_timeout_ms":1}}"#,
        );
        let entry = &view.entries[0];
        entry.peer.set_verdict(Verdict::Err);
        assert_eq!(next(&view, &Tried::default()), Some(0));
        let mut tried = Tried::default();
        tried.add(entry.peer.clone());
        assert_eq!(next(&view, &tried), None);
    }

    #[test]
    fn one_refusal_turns_ours_away_but_never_from_the_last() {
        let view = view(
            r#"{"cluster":[{"servers":[{"host":"a","port":1},{"host":"b","port":1}]}],
            "hancock":{"app":"web","index":1,"accept_timeout_ms":1}}"#,
        );
        let now = Timestamp(5000);
        let fail = |at: usize| {
            let entry = &view.entries[at];
            let others = || others_unbanned(&view, &entry.peer);
            entry
                .peer
                .record()
                .failed(entry.limits, Failure::Refused, others, now);
        };
        fail(0);
        assert!((0..4).all(|_| next(&view, &Tried::default()) == Some(1)));
        fail(1);
        assert!(available(&view, &view.entries[1], now));
    }
}
