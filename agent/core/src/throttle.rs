//! Limits how often starts begin: each costs the kernel namespaces, mounts and firewall rules, and a storm of ends and restarts must not choke
//! it.

use std::time::Duration;

use hancock_proto::time::Timestamp;

/// Starts that may begin at once, as after a reboot.
pub const BURST: u32 = 64;

/// After those, one in this time.
pub const PACE: Duration = Duration::from_millis(100);

/// What is left of the starts a node may begin.
#[derive(Debug, Clone)]
pub struct Starts {
    left: u32,
    /// When `left` was right.
    at: Timestamp,
}

impl Default for Starts {
    fn default() -> Self {
        Self {
            left: BURST,
            at: Timestamp::default(),
        }
    }
}

impl Starts {
    /// Takes one.
    ///
    /// # Errors
    /// None is left; when there is one again.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.refill(now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.at + PACE),
        }
    }

    fn refill(&mut self, now: Timestamp) {
        let ticks = now.since(self.at).as_millis() / PACE.as_millis();
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(ticks).min(BURST);
        // A full bucket has nothing to count from; a clock that was set back must not stop it.
        self.at = match self.left == BURST || now < self.at {
            true => now,
            false => self.at + PACE * ticks,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_begins_at_once_and_the_rest_at_its_pace() {
        let mut starts = Starts::default();
        let begin = Timestamp(1_000_000);
        let at_once = (0..1000).filter(|_| starts.take(begin).is_ok()).count();
        assert_eq!(at_once, BURST as usize);
        assert_eq!(starts.take(begin), Err(begin + PACE));
        let mut begun = 0;
        for ms in 1..=1050 {
            let now = begin + Duration::from_millis(ms);
            begun += u32::from(starts.take(now).is_ok());
        }
        assert_eq!(begun, 10);
        let later = begin + Duration::from_secs(3600);
        let again = (0..1000).filter(|_| starts.take(later).is_ok()).count();
        assert_eq!(again, BURST as usize);
    }

    #[test]
    fn a_clock_set_back_stops_nothing() {
        let mut starts = Starts::default();
        while starts.take(Timestamp(9_000_000)).is_ok() {}
        let back = Timestamp(1_000_000);
        assert_eq!(starts.take(back), Err(back + PACE));
        assert_eq!(starts.take(back + PACE), Ok(()));
    }
}
