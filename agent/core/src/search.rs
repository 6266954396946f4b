//! Whom a node asks for the leader next, and after which pause.
//!
//! One master is asked at a time. One that does not lead names the leader, which is asked at once; everything else is a failure, after
//! which the next master of the ring is asked after a growing pause. What masters were heard of is asked as well as what was configured, so
//! that one address suffices for the first contact.

use std::time::Duration;

/// Pause after the first failure; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause: a new leader is found about so long after it is there.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Leaders named in a row that are asked without a pause: masters that name each other must not be asked in circles.
const MOST_NAMED: u32 = 3;
/// Most masters remembered; more than a cluster ever has.
const MOST_LEARNT: usize = 16;

/// What became of asking a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It leads: what it said was listened to.
    Led,
    /// It does not lead, and names who does.
    Elsewhere {
        /// HOST:PORT of the leader.
        leader: String,
    },
    /// Nobody answered, nobody leads, or the session was lost.
    Lost,
    /// It refuses this node, and will refuse it again.
    Refused,
}

/// Whom to ask, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// HOST:PORT, as configured or heard.
    pub at: String,
    /// Time to wait before.
    pub wait: Duration,
}

/// The search for the leader.
#[derive(Debug, Clone, Default)]
pub struct Search {
    configured: Vec<String>,
    learnt: Vec<String>,
    /// Who was asked last.
    asked: Option<String>,
    /// Who leads, says who was asked last.
    named: Option<String>,
    /// Leaders named in a row without one that led.
    names: u32,
    /// Failures in a row.
    failures: u32,
}

impl Search {
    /// A search among the masters of the configuration and those remembered. With no address at all there is one master, called "".
    pub fn new(configured: Vec<String>, learnt: Vec<String>) -> Self {
        let mut search = Self {
            configured,
            ..Self::default()
        };
        search.learn(learnt);
        search
    }

    /// Where the masters are, says the leader. True: that is news, to be remembered.
    pub fn learn(&mut self, mut masters: Vec<String>) -> bool {
        masters.retain(|at| !at.is_empty());
        masters.truncate(MOST_LEARNT);
        let news = !masters.is_empty() && masters != self.learnt;
        if news {
            self.learnt = masters;
        }
        news
    }

    /// The masters heard of.
    pub fn learnt(&self) -> &[String] {
        &self.learnt
    }

    /// What became of the last try.
    pub fn ended(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Led => (self.failures, self.names) = (0, 0),
            Outcome::Elsewhere { leader } if self.may_follow(&leader) => {
                self.names += 1;
                self.named = Some(leader);
            }
            Outcome::Elsewhere { .. } | Outcome::Lost => self.fail(self.failures.saturating_add(1)),
            // The next one may know better, but there is no hurry.
            Outcome::Refused => self.fail(u32::MAX),
        }
    }

    fn may_follow(&self, leader: &str) -> bool {
        self.names < MOST_NAMED && self.asked.as_deref() != Some(leader)
    }

    fn fail(&mut self, failures: u32) {
        (self.failures, self.names) = (failures, 0);
    }

    /// Whom to ask now. `random` spreads many nodes over masters and time.
    pub fn next(&mut self, random: u64) -> Next {
        let next = match self.named.take() {
            Some(at) => Next {
                at,
                wait: Duration::ZERO,
            },
            None => Next {
                at: self.following(random),
                wait: pause(self.failures, random),
            },
        };
        self.asked = Some(next.at.clone());
        next
    }

    /// The master after the one asked last; at the beginning any.
    fn following(&self, random: u64) -> String {
        let unknown = |at: &&String| !self.learnt.contains(at);
        let ring: Vec<&String> = self
            .learnt
            .iter()
            .chain(self.configured.iter().filter(unknown))
            .collect();
        let Some(count) = u64::try_from(ring.len()).ok().filter(|n| *n > 0) else {
            return String::new();
        };
        let last = ring.iter().position(|at| Some(*at) == self.asked.as_ref());
        let number = match last {
            Some(last) => (last + 1) % ring.len(),
            None => usize::try_from(random % count).unwrap_or(0),
        };
        ring[number].clone()
    }
}

/// Between half of the pause and all of it.
fn pause(failures: u32, random: u64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        return Duration::ZERO;
    };
    let full = FIRST_PAUSE
        .saturating_mul(2u32.saturating_pow(doublings))
        .min(LONGEST_PAUSE);
    let share = u32::try_from((random >> 32) % 1024).unwrap_or(0);
    full / 2 + full * share / 2048
}

#[cfg(test)]
mod tests;
