//! Limits of an instance that runs: they follow what is wanted, without a restart.

use hancock_proto::app::Limits;
use hancock_proto::time::Timestamp;

use super::{Deed, Failure, Instance, Next, restart};

/// How the limits in force follow the wanted ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Following {
    /// None: nobody said.
    wanted: Option<Limits>,
    /// What the deed under way sets.
    ordered: Option<Limits>,
    /// Failed changes in a row. Apart from those of stops: an instance is not killed because its limits could not be set.
    failures: u32,
    /// Not before then again.
    again: Timestamp,
}

impl Following {
    pub(super) fn wanted(&self) -> Option<Limits> {
        self.wanted
    }
}

impl Instance {
    /// What it may not exceed from now on.
    pub fn wants_limits(&mut self, limits: Limits) {
        if self.limits.wanted != Some(limits) {
            self.limits.wanted = Some(limits);
            self.limits.again = Timestamp::default();
        }
    }

    /// The change that is due, when the limits in force are not known to be the wanted ones.
    pub(super) fn follow_limits(&mut self, now: Timestamp) -> Next {
        let follow = &mut self.limits;
        match follow.wanted.filter(|w| self.memory.limits != Some(*w)) {
            None => Next::Nothing,
            Some(_) if now < follow.again => Next::Wait(follow.again),
            Some(wanted) => {
                follow.ordered = Some(wanted);
                self.busy = Some(Deed::Limit);
                Next::Do(Deed::Limit)
            }
        }
    }

    /// A change came to its end. A failed one is told and tried again: the instance runs on under what it had.
    pub(super) fn limited(&mut self, outcome: Result<(), Failure>, now: Timestamp) {
        let follow = &mut self.limits;
        let ordered = follow.ordered.take();
        match outcome {
            Ok(()) => {
                self.memory.limits = ordered;
                if follow.failures > 0 {
                    self.memory.reason = None;
                }
                (follow.failures, follow.again) = (0, Timestamp::default());
            }
            Err(failure) => {
                self.memory.reason = Some(failure.reason);
                follow.failures = follow.failures.saturating_add(1);
                follow.again = now + restart::again(follow.failures);
            }
        }
    }
}
