//! Slow start: a peer that comes back, or joins a list that serves already, gets its share bit by bit.

use std::sync::atomic::{AtomicU64, Ordering};

use hancock_proto::time::Timestamp;

/// The share a peer begins with.
pub const FIRST_SHARE: f64 = 0.1;

/// The ramp has been ordered, and begins with the first pick that looks at it: without requests nothing warms up.
const ORDERED: u64 = u64::MAX;
const NONE: u64 = 0;

/// One peer's ramp: when it began, in milliseconds.
#[derive(Debug, Default)]
pub struct Ramp(AtomicU64);

impl Ramp {
    /// From the next pick on.
    pub fn order(&self) {
        self.0.store(ORDERED, Ordering::Relaxed);
    }

    /// The full share at once.
    pub fn cancel(&self) {
        self.0.store(NONE, Ordering::Relaxed);
    }

    /// The share of its weight a peer has now, from [`FIRST_SHARE`] in a straight line to 1 after `millis`.
    pub fn share(&self, millis: u64, now: Timestamp) -> f64 {
        let began = match self.0.load(Ordering::Relaxed) {
            NONE => return 1.0,
            ORDERED => self.begin(now),
            began => began,
        };
        let passed = now.0.saturating_sub(began);
        if passed >= millis {
            // Losing the race means that it was ordered anew.
            let _ = self
                .0
                .compare_exchange(began, NONE, Ordering::Relaxed, Ordering::Relaxed);
            return 1.0;
        }
        FIRST_SHARE + (1.0 - FIRST_SHARE) * passed as f64 / millis as f64
    }

    fn begin(&self, now: Timestamp) -> u64 {
        let began = now.0.clamp(NONE + 1, ORDERED - 1);
        let _ = self
            .0
            .compare_exchange(ORDERED, began, Ordering::Relaxed, Ordering::Relaxed);
        began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_in_a_straight_line_from_the_first_look() {
        let ramp = Ramp::default();
        let share = |at| ramp.share(10_000, Timestamp(at));
        assert_eq!(share(5), 1.0);
        ramp.order();
        assert_eq!(share(1000), FIRST_SHARE);
        assert!((share(6000) - 0.55).abs() < 1e-9);
        assert_eq!(share(900), FIRST_SHARE, "a clock that went back");
        assert_eq!(share(11_000), 1.0);
        assert_eq!(share(1000), 1.0, "it is over for good");
        ramp.order();
        ramp.cancel();
        assert_eq!(share(1000), 1.0);
    }
}
