//! When an instance that ended is started again, and when it is given up.

use std::time::Duration;

use hancock_proto::app::Restart;
use hancock_proto::time::Timestamp;

use super::{Instance, Phase};

/// Restarts remembered at most, however many attempts a spec allows.
const MAX_RECENT: usize = 1000;

impl Instance {
    /// The first restart comes at once, the second after `delay`, doubling up to `max_delay`; used up within `interval`: failed.
    pub(super) fn restart_or_fail(&mut self, rule: &Restart, why: &str, now: Timestamp) {
        self.forget_old(rule, now);
        let used = self.memory.recent.len();
        if used >= allowed(rule) {
            self.memory.phase = Phase::Failed;
            self.memory.reason = Some(given_up(rule, why));
            return;
        }
        let delay = delay(rule, used);
        self.memory.recent.push(now);
        self.memory.restarts = self.memory.restarts.saturating_add(1);
        self.memory.phase = Phase::Waiting { at: now + delay };
        self.memory.reason = Some(format!(
            "restart {} of {} after {}s: {why}",
            used + 1,
            rule.attempts,
            delay.as_secs_f32()
        ));
    }

    /// Whether an exit seen now would be answered with a restart without delay.
    pub fn restarts_at_once(&self, rule: &Restart, now: Timestamp) -> bool {
        let interval = rule.interval.duration();
        rule.attempts > 0 && self.memory.recent.iter().all(|t| now.since(*t) >= interval)
    }

    fn forget_old(&mut self, rule: &Restart, now: Timestamp) {
        let interval = rule.interval.duration();
        self.memory.recent.retain(|t| now.since(*t) < interval);
    }
}

fn allowed(rule: &Restart) -> usize {
    usize::try_from(rule.attempts)
        .unwrap_or(usize::MAX)
        .min(MAX_RECENT)
}

fn delay(rule: &Restart, used: usize) -> Duration {
    match u32::try_from(used) {
        Ok(0) => Duration::ZERO,
        Ok(n) => rule
            .delay
            .duration()
            .saturating_mul(2u32.saturating_pow(n - 1))
            .min(rule.max_delay.duration()),
        Err(_) => rule.max_delay.duration(),
    }
}

fn given_up(rule: &Restart, why: &str) -> String {
    match rule.attempts {
        0 => format!("{why} (no restarts allowed)"),
        n => format!("{why} ({n} restarts within {} used up)", rule.interval),
    }
}

/// Time before a failed stop or removal is tried again: doubles from half a second to 30 s.
pub(super) fn again(tries: u32) -> Duration {
    let doubled = 2u32.saturating_pow(tries.saturating_sub(1).min(8));
    Duration::from_millis(500)
        .saturating_mul(doubled)
        .min(Duration::from_secs(30))
}
