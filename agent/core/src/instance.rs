//! The life of one instance on its node: from waiting for its start to its end. Does not know about other instances.

use hancock_proto::app::{Limits, Restart};
use hancock_proto::ids::Version;
use hancock_proto::report::Life;
use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observed::{Exit, State};

mod limits;
mod restart;
#[cfg(test)]
mod tests;

/// Why an instance is down that was asked to restart.
const ASKED: &str = "was asked to restart";

/// Why an instance is down whose version turned out to be another image.
const OTHER_IMAGE: &str =
    "is made anew: the image's tag meant another image where the version's first instance began";

/// What of an instance survives a restart of the daemon. Stored before what it allows is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Version it runs.
    pub version: Version,
    /// Where it stands.
    pub phase: Phase,
    /// The life last reported.
    pub life: Life,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: Option<String>,
    /// Starts after the first, the one under way included.
    pub restarts: u32,
    /// Restarts that still count against the attempts; oldest first, bounded.
    pub recent: Vec<Timestamp>,
    /// The master's wishes for a restart that were taken.
    #[serde(default)]
    pub asked: u32,
    /// The limits it runs under. None: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not up; to be started from then on.
    Waiting {
        /// Earliest time of the start.
        at: Timestamp,
    },
    /// A start was ordered, its outcome is not known yet.
    Ordered {
        /// When.
        at: Timestamp,
    },
    /// Up, as far as is known.
    Up,
    /// It is being stopped, to be started again.
    Restarting,
    /// It is being stopped.
    Stopping,
    /// Ended as wanted.
    Stopped,
    /// Ended for good, not as wanted.
    Failed,
    /// Cannot be honoured.
    Rejected,
}

/// One whole deed a runtime can do for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Get what the start needs, as the image.
    Prepare,
    /// Start it.
    Start,
    /// Change the limits it runs under.
    Limit,
    /// Signal, grace period, kill.
    Stop,
    /// End it at once.
    Kill,
    /// Remove what is left of it.
    Remove,
}

/// What is wanted of an instance just now.
#[derive(Debug, Clone, Copy)]
pub enum Want<'a> {
    /// Be up, restarted by this rule.
    Run(&'a Restart),
    /// End and stay known.
    Stop,
    /// End and be forgotten: it is no longer assigned.
    Leave,
    /// Nobody knows it: left as it is until then. None: until a master was heard.
    Spare(Option<Timestamp>),
    /// End until the daemon comes back: it shuts down and takes its instances with it.
    Park,
}

/// What to do next for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Nothing before then.
    Wait(Timestamp),
    /// This.
    Do(Deed),
    /// Nothing is left of it: forget it.
    Forget,
}

/// Why a deed was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it means for the next try.
    pub kind: FailureKind,
    /// What happened and the way out.
    pub reason: String,
}

/// What a failed deed means for the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Trying again would end the same, as for a program that does not exist.
    Permanent,
    /// It would work on another node, or with other ports.
    Elsewhere,
    /// Counts as one attempt.
    Temporary,
    /// The runtime does not answer: says nothing of the instance, counts as nothing.
    Unavailable,
}

/// One instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// What survives a restart of the daemon.
    pub memory: Memory,
    /// What is being done to it just now.
    busy: Option<Deed>,
    /// Its image and the like are there.
    prepared: bool,
    /// What is being prepared is not wanted any more.
    outdated: bool,
    /// What it runs was made of another image than it shall be.
    other_image: bool,
    /// Failed stops or removals in a row.
    tries: u32,
    /// Not before then again.
    again: Timestamp,
    limits: limits::Following,
}

impl Instance {
    /// One that was never started.
    pub fn new(version: Version, now: Timestamp) -> Self {
        Self::remembered(Memory {
            version,
            phase: Phase::Waiting { at: now },
            life: Life::Placed,
            since: now,
            reason: None,
            restarts: 0,
            recent: Vec::new(),
            asked: 0,
            limits: None,
        })
    }

    /// The same, after so many wishes for a restart that do not concern it.
    pub fn asked(mut self, wishes: u32) -> Self {
        self.memory.asked = wishes;
        self
    }

    /// The master asked for so many restarts in all. One that is not up gets a new start anyway.
    pub fn asked_to_restart(&mut self, wishes: u32) {
        if wishes > self.memory.asked {
            self.memory.asked = wishes;
            if self.memory.phase == Phase::Up {
                self.memory.phase = Phase::Restarting;
            }
        }
    }

    /// One the daemon knew before it restarted.
    pub fn remembered(memory: Memory) -> Self {
        Self {
            memory,
            busy: None,
            prepared: false,
            outdated: false,
            other_image: false,
            tries: 0,
            again: Timestamp::default(),
            limits: limits::Following::default(),
        }
    }

    /// Its image has become another one: before its next start that has to be there.
    pub(crate) fn unprepare(&mut self) {
        self.prepared = false;
        self.outdated = self.busy == Some(Deed::Prepare);
    }

    /// Whether what runs is of another image than its version: nothing uses it then, and it is made anew.
    pub(crate) fn is_of_other_image(&mut self, other: bool) {
        self.other_image = other;
    }

    /// What is being done to it.
    pub fn busy(&self) -> Option<Deed> {
        self.busy
    }

    /// Whether it ended for good.
    pub fn is_over(&self) -> bool {
        matches!(
            self.memory.phase,
            Phase::Stopped | Phase::Failed | Phase::Rejected
        )
    }

    /// Takes in what the runtime shows of it. `None`: a complete list did not have it. Not to be called while a deed is under way.
    pub fn facts(&mut self, state: Option<&State>, want: Want<'_>, now: Timestamp) {
        match (self.memory.phase, state) {
            // Up, whatever was thought: adopted, never started a second time.
            (Phase::Waiting { .. } | Phase::Ordered { .. }, Some(State::Running { .. })) => {
                self.memory.phase = Phase::Up;
                self.memory.limits = None;
            }
            (Phase::Up | Phase::Restarting | Phase::Stopping, Some(State::Running { .. })) => {}
            (Phase::Up, Some(State::Exited(exit))) => self.ended(exit, want, now),
            (Phase::Ordered { at }, Some(State::Exited(exit))) if exit.at >= at => {
                self.ended(exit, want, now);
            }
            // The daemon ended between storing the order and carrying it out.
            (Phase::Ordered { .. }, _) => self.memory.phase = Phase::Waiting { at: now },
            (Phase::Up, Some(State::Created) | None) => {
                self.down("disappeared from the runtime", want, now);
            }
            (Phase::Restarting, _) => self.down(ASKED, want, now),
            (Phase::Stopping, _) => self.stopped(want, now),
            (Phase::Waiting { .. } | Phase::Stopped | Phase::Failed | Phase::Rejected, _) => {}
        }
    }

    /// What to do next; remembers it as under way. `state` as in [`Instance::facts`].
    pub fn next(&mut self, state: Option<&State>, want: Want<'_>, now: Timestamp) -> Next {
        if self.busy.is_some_and(|deed| deed != Deed::Prepare) {
            return Next::Nothing;
        }
        let running = matches!(state, Some(State::Running { .. }));
        match (self.memory.phase, want) {
            (Phase::Waiting { at }, Want::Run(rule)) => self.start(at, rule, now),
            (Phase::Up, Want::Run(_)) if self.other_image => {
                // Not its fault: no restart that counts.
                self.memory.phase = Phase::Stopping;
                self.memory.reason = Some(OTHER_IMAGE.to_owned());
                self.stop(now)
            }
            (Phase::Up, Want::Run(_)) => self.follow_limits(now),
            (Phase::Waiting { .. } | Phase::Ordered { .. } | Phase::Up, Want::Spare(until)) => {
                until.map_or(Next::Nothing, Next::Wait)
            }
            (Phase::Waiting { .. }, Want::Park) => Next::Nothing,
            (Phase::Waiting { .. } | Phase::Ordered { .. }, Want::Stop | Want::Leave) => {
                self.memory.phase = Phase::Stopped;
                self.memory.reason = None;
                Next::Wait(now)
            }
            // Decided by the next list, which is asked for whenever an outcome is open.
            (Phase::Ordered { .. }, Want::Run(_) | Want::Park) => Next::Nothing,
            (Phase::Up, Want::Stop | Want::Leave | Want::Park)
            | (Phase::Restarting, Want::Stop | Want::Leave | Want::Spare(_) | Want::Park) => {
                self.memory.phase = Phase::Stopping;
                self.stop(now)
            }
            (Phase::Restarting, Want::Run(_)) => self.stop(now),
            (Phase::Stopping, _) => self.stop(now),
            (Phase::Stopped | Phase::Failed | Phase::Rejected, Want::Spare(until)) => {
                until.map_or(Next::Nothing, Next::Wait)
            }
            (Phase::Stopped | Phase::Failed | Phase::Rejected, _) if running => self.stop(now),
            (Phase::Stopped | Phase::Failed | Phase::Rejected, Want::Leave) => match state {
                Some(_) => self.order(Deed::Remove, now),
                None => Next::Forget,
            },
            (Phase::Stopped | Phase::Failed | Phase::Rejected, _) => Next::Nothing,
        }
    }

    fn start(&mut self, at: Timestamp, rule: &Restart, now: Timestamp) -> Next {
        // A clock set back must not keep it down for longer than the longest delay.
        let early = now < at && at.since(now) <= rule.max_delay.duration();
        match (self.busy, early) {
            (Some(_), _) => Next::Nothing,
            (None, true) => Next::Wait(at),
            (None, false) if !self.prepared => self.order(Deed::Prepare, now),
            (None, false) => {
                self.memory.phase = Phase::Ordered { at: now };
                self.memory.limits = self.limits.wanted();
                self.order(Deed::Start, now)
            }
        }
    }

    /// The first try asks politely; after a failed one it is killed.
    fn stop(&mut self, now: Timestamp) -> Next {
        match self.tries {
            0 => self.order(Deed::Stop, now),
            _ => self.order(Deed::Kill, now),
        }
    }

    fn order(&mut self, deed: Deed, now: Timestamp) -> Next {
        if now < self.again {
            return Next::Wait(self.again);
        }
        self.busy = Some(deed);
        Next::Do(deed)
    }

    /// Takes the order to start back, because its ports are not free yet.
    pub fn postpone(&mut self, until: Timestamp, reason: String) {
        self.busy = None;
        self.memory.phase = Phase::Waiting { at: until };
        self.memory.reason = Some(reason);
    }

    /// It cannot be honoured, and why.
    pub fn reject(&mut self, reason: String) {
        self.busy = None;
        self.memory.phase = Phase::Rejected;
        self.memory.reason = Some(reason);
    }

    /// A deed came to its end.
    pub fn done(
        &mut self,
        deed: Deed,
        outcome: Result<(), Failure>,
        want: Want<'_>,
        now: Timestamp,
    ) {
        let expected = match self.busy {
            // What is not seen cannot be asked politely: a stop of it is a kill.
            Some(Deed::Stop) => matches!(deed, Deed::Stop | Deed::Kill),
            busy => busy == Some(deed),
        };
        if !expected {
            // A preparation that was overtaken by the instance's end.
            return;
        }
        self.busy = None;
        match (deed, outcome) {
            (Deed::Prepare, Ok(())) => self.prepared = !std::mem::take(&mut self.outdated),
            (Deed::Start, Ok(())) => {
                self.memory.phase = Phase::Up;
                // What a first start waited for is over; why there was another one stays to be read.
                if self.memory.restarts == 0 {
                    self.memory.reason = None;
                }
            }
            (Deed::Prepare | Deed::Start, Err(failure)) => self.not_started(failure, want, now),
            (Deed::Stop | Deed::Kill, Ok(())) => {
                self.settle();
                match self.memory.phase {
                    Phase::Stopping => self.stopped(want, now),
                    Phase::Restarting => self.down(ASKED, want, now),
                    _ => {}
                }
            }
            (Deed::Remove, Ok(())) => self.settle(),
            (Deed::Limit, outcome) => self.limited(outcome, now),
            (Deed::Stop | Deed::Kill | Deed::Remove, Err(failure)) => {
                self.memory.reason = Some(failure.reason);
                self.tries = self.tries.saturating_add(1);
                self.again = now + restart::again(self.tries);
            }
        }
    }

    fn settle(&mut self) {
        (self.tries, self.again) = (0, Timestamp::default());
    }

    fn not_started(&mut self, failure: Failure, want: Want<'_>, now: Timestamp) {
        if self.is_over() {
            return;
        }
        // What was there may have gone meanwhile, as an image that was pruned.
        self.prepared = false;
        match failure.kind {
            FailureKind::Permanent => {
                self.memory.phase = Phase::Failed;
                self.memory.reason = Some(failure.reason);
            }
            FailureKind::Elsewhere => self.reject(failure.reason),
            FailureKind::Temporary => self.down(&failure.reason, want, now),
            FailureKind::Unavailable => {
                let at = now + restart::again(1);
                self.memory.phase = Phase::Waiting { at };
                self.memory.reason = Some(failure.reason);
            }
        }
    }

    fn ended(&mut self, exit: &Exit, want: Want<'_>, now: Timestamp) {
        let mut why = exit.how.to_string();
        if !exit.tail.is_empty() {
            why = format!("{why}; last output: {}", exit.tail.join(" | "));
        }
        self.down(&why, want, now);
    }

    /// It is down and nobody asked for it, or at least it looks so.
    fn down(&mut self, why: &str, want: Want<'_>, now: Timestamp) {
        match want {
            Want::Run(rule) => self.restart_or_fail(rule, why, now),
            Want::Park => self.memory.phase = Phase::Waiting { at: now },
            Want::Stop | Want::Leave | Want::Spare(_) => {
                self.memory.phase = Phase::Stopped;
                self.memory.reason = Some(why.to_owned());
            }
        }
    }

    /// It ended because it was told to.
    fn stopped(&mut self, want: Want<'_>, now: Timestamp) {
        self.memory.reason = None;
        self.memory.phase = match want {
            // Stopped by a daemon that took its instances with it: comes back without counting as a restart.
            Want::Run(_) | Want::Park => Phase::Waiting { at: now },
            Want::Stop | Want::Leave | Want::Spare(_) => Phase::Stopped,
        };
    }

    /// The life to report, with its begin kept right.
    pub fn settle_life(&mut self, now: Timestamp) {
        let life = self.life();
        if life != self.memory.life {
            (self.memory.life, self.memory.since) = (life, now);
        }
    }

    fn life(&self) -> Life {
        match self.memory.phase {
            Phase::Waiting { .. }
                if self.busy == Some(Deed::Prepare) && self.memory.restarts == 0 =>
            {
                Life::Pulling
            }
            Phase::Waiting { .. } if self.memory.life < Life::Pulling => Life::Placed,
            Phase::Waiting { .. } | Phase::Ordered { .. } | Phase::Restarting => Life::Starting,
            Phase::Up => Life::Running,
            Phase::Stopping => Life::Stopping,
            Phase::Stopped => Life::Stopped,
            Phase::Failed => Life::Failed,
            Phase::Rejected => Life::Rejected,
        }
    }
}
