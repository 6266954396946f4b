//! From probe results to verdicts: per round over a whole upstream, as in the original, and per instance with rise and fall.

use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::peer::Verdict;

/// How one probe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// As it should be.
    Ok,
    /// It answers, but is of doubtful use.
    Unstable(String),
    /// It does not; the reason, where there is one to tell.
    Failed(Option<String>),
}

/// What is known of one peer after its first probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHealth {
    /// Failed probes in a row.
    pub fail_num: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// When the verdict last changed, or the first probe.
    pub last_modified: Timestamp,
    /// Reason of the last failure; None after a good one.
    pub msg: Option<String>,
}

/// How an upstream's checks are judged.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Failures in a row before a verdict turns bad.
    pub sensibility: u32,
    /// The first peer stays usable when all fail.
    pub protected: bool,
}

/// One good result: it counts at once, without waiting for the rest of the round.
pub fn good(health: Option<PeerHealth>, now: Timestamp) -> PeerHealth {
    let since = match &health {
        Some(before) if before.verdict == Verdict::Ok => before.last_modified,
        _ => now,
    };
    PeerHealth {
        fail_num: 0,
        verdict: Verdict::Ok,
        last_modified: since,
        msg: None,
    }
}

/// Judges one whole round: results in list order over all levels. Good results that were counted already are counted again, to no effect.
pub fn round(
    before: Vec<Option<PeerHealth>>,
    results: &[ProbeResult],
    policy: Policy,
    now: Timestamp,
) -> Vec<PeerHealth> {
    let any_ok = results.contains(&ProbeResult::Ok);
    let any_unstable = results
        .iter()
        .any(|r| matches!(r, ProbeResult::Unstable(_)));
    let spared = (!any_ok && !any_unstable && policy.protected).then_some(0);
    before
        .into_iter()
        .zip(results.iter().enumerate())
        .map(|(health, (at, result))| match result {
            ProbeResult::Ok => good(health, now),
            ProbeResult::Unstable(msg) => {
                let verdict = if any_ok {
                    Verdict::Err
                } else {
                    Verdict::Unstable
                };
                bad(health, verdict, Some(msg.clone()), policy, now)
            }
            ProbeResult::Failed(msg) => {
                let verdict = if spared == Some(at) {
                    Verdict::Unstable
                } else {
                    Verdict::Err
                };
                bad(health, verdict, msg.clone(), policy, now)
            }
        })
        .collect()
}

fn bad(
    health: Option<PeerHealth>,
    verdict: Verdict,
    msg: Option<String>,
    policy: Policy,
    now: Timestamp,
) -> PeerHealth {
    let (fails, old, since) = health.map_or((0, None, now), |h| {
        (h.fail_num, Some(h.verdict), h.last_modified)
    });
    let fail_num = fails + 1;
    let reached = fail_num >= u64::from(policy.sensibility);
    let next = if reached {
        verdict
    } else {
        old.unwrap_or(Verdict::Ok)
    };
    PeerHealth {
        fail_num,
        verdict: next,
        last_modified: if old == Some(next) { since } else { now },
        msg,
    }
}

/// One instance judged by its node's own balancer.
#[derive(Debug, Clone)]
pub struct Readiness {
    rise: u32,
    fall: u32,
    goods: u32,
    fails: u32,
    ready: bool,
}

impl Readiness {
    /// Not ready until `rise` good probes in a row; then ready until `fall` failed ones.
    pub fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            goods: 0,
            fails: 0,
            ready: false,
        }
    }

    /// As it was judged before, by another process.
    #[must_use]
    pub fn known(mut self, ready: bool) -> Self {
        self.ready = ready;
        self
    }

    /// One probe ended. Answers whether the instance is ready now.
    pub fn probed(&mut self, good: bool) -> bool {
        if good {
            self.goods = self.goods.saturating_add(1);
            self.fails = 0;
            self.ready |= self.goods >= self.rise;
        } else {
            self.fails = self.fails.saturating_add(1);
            self.goods = 0;
            self.ready &= self.fails < self.fall;
        }
        self.ready
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTECTED: Policy = Policy {
        sensibility: 1,
        protected: true,
    };

    fn failed() -> ProbeResult {
        ProbeResult::Failed(Some("timeout".into()))
    }

    fn verdicts(results: &[ProbeResult], policy: Policy) -> Vec<Verdict> {
        let before = vec![None; results.len()];
        let after = round(before, results, policy, Timestamp(1));
        after.into_iter().map(|h| h.verdict).collect()
    }

    #[test]
    fn the_table_of_verdicts() {
        use Verdict::{Err, Ok, Unstable};
        let unstable = || ProbeResult::Unstable("link down".into());
        let bare = Policy {
            protected: false,
            ..PROTECTED
        };
        let ok = ProbeResult::Ok;
        assert_eq!(
            verdicts(&[ok.clone(), failed(), unstable()], PROTECTED),
            [Ok, Err, Err]
        );
        assert_eq!(
            verdicts(&[failed(), failed(), failed()], PROTECTED),
            [Unstable, Err, Err]
        );
        assert_eq!(verdicts(&[failed(), failed()], bare), [Err, Err]);
        assert_eq!(
            verdicts(&[failed(), unstable()], PROTECTED),
            [Err, Unstable]
        );
        assert_eq!(verdicts(&[failed(), unstable()], bare), [Err, Unstable]);
    }

    #[test]
    fn sensibility_waits_and_one_good_probe_ends_it() {
        let policy = Policy {
            sensibility: 2,
            protected: false,
        };
        let first = round(vec![None], &[failed()], policy, Timestamp(1));
        assert_eq!((first[0].verdict, first[0].fail_num), (Verdict::Ok, 1));
        let second = round(
            vec![first.into_iter().next()],
            &[failed()],
            policy,
            Timestamp(2),
        );
        assert_eq!(
            (second[0].verdict, second[0].last_modified),
            (Verdict::Err, Timestamp(2))
        );
        let third = good(second.into_iter().next(), Timestamp(3));
        assert_eq!(
            (third.verdict, third.fail_num, third.msg),
            (Verdict::Ok, 0, None)
        );
        assert_eq!(third.last_modified, Timestamp(3));
    }

    #[test]
    fn one_peer_alone_is_never_err_while_it_is_protected() {
        assert_eq!(verdicts(&[failed()], PROTECTED), [Verdict::Unstable]);
    }

    #[test]
    fn the_time_of_a_verdict_is_that_of_its_change_and_its_reason_the_last_one() {
        let unstable = ProbeResult::Unstable("link down".into());
        let policy = Policy {
            sensibility: 2,
            protected: true,
        };
        let mut health = vec![None];
        let mut seen = Vec::new();
        for (at, result) in [
            ProbeResult::Ok,
            failed(),
            unstable.clone(),
            unstable,
            failed(),
        ]
        .iter()
        .enumerate()
        {
            let after = round(
                health,
                std::slice::from_ref(result),
                policy,
                Timestamp(at as u64),
            );
            let peer = after[0].clone();
            seen.push((
                peer.verdict,
                peer.fail_num,
                peer.last_modified.0,
                peer.msg.clone(),
            ));
            health = vec![Some(peer)];
        }
        let (down, late) = (Some("link down".to_owned()), Some("timeout".to_owned()));
        let wanted = [
            (Verdict::Ok, 0, 0, None),
            (Verdict::Ok, 1, 0, late.clone()),
            (Verdict::Unstable, 2, 2, down.clone()),
            (Verdict::Unstable, 3, 2, down),
            (Verdict::Unstable, 4, 2, late),
        ];
        assert_eq!(seen, wanted);
        let again = good(health.remove(0), Timestamp(9));
        assert_eq!((again.last_modified, again.msg), (Timestamp(9), None));
    }

    #[test]
    fn rise_and_fall_count_runs() {
        let mut state = Readiness::new(2, 3);
        let seen: Vec<bool> = [
            true, false, true, true, false, false, true, false, false, false,
        ]
        .into_iter()
        .map(|good| state.probed(good))
        .collect();
        let expected = [
            false, false, false, true, true, true, true, true, true, false,
        ];
        assert_eq!(seen, expected);
    }
}
