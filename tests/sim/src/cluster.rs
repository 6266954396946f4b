//! The masters: one log, leaders that come and go with terms, followers that apply later, and leaders who do not know that they are over.

use std::collections::BTreeMap;

use hancock_master_core::command::{Command, Reply};
use hancock_master_core::state::State;
use hancock_proto::hub::Hello;
use hancock_proto::ids::{ClusterId, LogIndex, Term};
use hancock_proto::registry::Fence;
use hancock_proto::time::Timestamp;

use crate::lead::Lead;
use crate::settings::Fault;
use crate::world::{Event, World};

/// All masters.
pub(crate) struct Cluster {
    /// Committed, for ever.
    pub(crate) log: Vec<(Term, Command)>,
    pub(crate) masters: Vec<Master>,
    pub(crate) leader: Option<usize>,
    pub(crate) term: Term,
    /// Proposed, not known to be committed.
    flight: BTreeMap<u64, Proposal>,
    /// When the newest of them is committed: they are in order.
    committed: u64,
}

/// One master.
pub(crate) struct Master {
    pub(crate) state: State,
    pub(crate) applied: usize,
    /// How far its clock is off, in milliseconds.
    pub(crate) offset: i64,
    /// It believes that it leads.
    pub(crate) lead: Option<Lead>,
}

struct Proposal {
    master: usize,
    term: Term,
    command: Command,
    then: Then,
}

/// What follows when a proposal was applied.
pub(crate) enum Then {
    /// Nothing.
    Nothing,
    /// The leader's next piece of work.
    Step,
    /// The term has begun.
    Begun,
    /// The fence is up, in the embedded registry.
    Raised,
    /// Documents are in the embedded registry.
    Written(hancock_master_core::Publication),
    /// A node is registered, by session.
    Registered(u64, Hello),
    /// A report's facts are replicated, by session.
    Reported(u64),
}

impl Cluster {
    pub(crate) fn new(masters: usize) -> Self {
        let master = |_| Master {
            state: State::new(),
            applied: 0,
            offset: 0,
            lead: None,
        };
        Self {
            log: Vec::new(),
            masters: (0..masters).map(master).collect(),
            leader: None,
            term: Term(0),
            flight: BTreeMap::new(),
            committed: 0,
        }
    }

    /// The newest applied state anybody has.
    pub(crate) fn state(&self) -> &State {
        let newest = self.masters.iter().max_by_key(|m| m.applied);
        // There are always masters.
        newest.map_or(&self.masters[0].state, |m| &m.state)
    }
}

/// The only cluster.
// The name is well-formed.
#[allow(clippy::unwrap_used)]
pub(crate) fn cluster_id() -> ClusterId {
    "sim".parse().unwrap()
}

pub(crate) fn fence(term: Term) -> Fence {
    Fence {
        cluster: cluster_id(),
        term,
    }
}

impl World {
    /// A master's clock.
    pub(crate) fn clock(&self, master: usize) -> Timestamp {
        let offset = self.cluster.masters[master].offset;
        Timestamp(self.now.saturating_add_signed(offset))
    }

    /// A master asks for a command. One that no longer leads will never hear of it again.
    pub(crate) fn propose(&mut self, master: usize, command: Command, then: Then) {
        let leads = self.cluster.leader == Some(master);
        let term = self.cluster.masters[master].lead.as_ref().map(|l| l.term);
        if !leads || term != Some(self.cluster.term) {
            return;
        }
        let slow = self.settings.has(Fault::Disk) && !self.peace && self.rng.percent(3);
        let delay = if slow {
            self.rng.between(100, 2500)
        } else {
            self.rng.between(1, 6)
        };
        let at = (self.now + delay).max(self.cluster.committed);
        self.cluster.committed = at;
        let id = self.number();
        let proposal = Proposal {
            master,
            term: self.cluster.term,
            command,
            then,
        };
        self.cluster.flight.insert(id, proposal);
        self.queue.put(at, Event::Commit(id));
    }

    /// A proposal reached a majority.
    pub(crate) fn commit(&mut self, id: u64) {
        let Some(proposal) = self.cluster.flight.remove(&id) else {
            return;
        };
        let Some(reply) = self.append(proposal.term, proposal.command) else {
            return;
        };
        self.carry_on(proposal.master, proposal.then, reply);
    }

    /// One entry of the log, applied by the leader at once and by the others later.
    fn append(&mut self, term: Term, command: Command) -> Option<Reply> {
        let leader = self.cluster.leader?;
        self.cluster.log.push((term, command.clone()));
        let index = self.cluster.log.len();
        let before = self.cluster.masters[leader].state.clone();
        let master = &mut self.cluster.masters[leader];
        let reply = master.state.apply(LogIndex(index as u64), term, &command);
        master.applied = index;
        self.note(index, &command, &reply);
        self.judge_command(&before, term, &command, &reply);
        for other in (0..self.cluster.masters.len()).filter(|m| *m != leader) {
            let delay = self.rng.between(5, 1500);
            self.after(delay, Event::Follow(other));
        }
        self.news(leader);
        self.nudge(leader);
        Some(reply)
    }

    fn note(&mut self, index: usize, command: &Command, reply: &Reply) {
        self.say(|_| match reply {
            Reply::Refused(error) => {
                format!("log {index}: {command} -> refused: {}", error.message)
            }
            Reply::Registry(outcome) => format!("log {index}: {command} -> {outcome:?}"),
            _ => format!("log {index}: {command}"),
        });
    }

    /// A follower applies what is committed; all who have applied the same must have the same.
    pub(crate) fn follow(&mut self, master: usize) {
        let stuck = self.cluster.masters[master].lead.is_some();
        if self.cluster.leader == Some(master) || (stuck && !self.peace) {
            return;
        }
        self.catch_up(master);
        // Comparing all of it is dear; every run compares often enough, and once more at its end.
        if !self.rng.percent(5) {
            return;
        }
        self.compare(master);
    }

    pub(crate) fn compare(&mut self, master: usize) {
        let leader = self.cluster.leader.map(|l| &self.cluster.masters[l]);
        let mine = &self.cluster.masters[master];
        let differs = leader.is_some_and(|l| l.applied == mine.applied && l.state != mine.state);
        if differs {
            self.fail(format!(
                "masters disagree after {} entries",
                self.cluster.log.len()
            ));
        }
    }

    pub(crate) fn catch_up(&mut self, master: usize) {
        let log = &self.cluster.log;
        let mine = &mut self.cluster.masters[master];
        for (at, (term, command)) in log.iter().enumerate().skip(mine.applied) {
            mine.state.apply(LogIndex(at as u64 + 1), *term, command);
        }
        mine.applied = log.len();
        if self.rng.number().is_multiple_of(400) {
            let read = State::decode(&mine.state.encode()).ok();
            if read.as_ref() != Some(&mine.state) {
                self.fail("a snapshot is not what was written".to_owned());
            }
        }
    }

    /// The leader goes. `believes`: it does not know yet.
    pub(crate) fn depose(&mut self, believes: bool) {
        let Some(leader) = self.cluster.leader.take() else {
            return;
        };
        let term = self.cluster.term;
        self.say(|_| format!("m{leader} loses term {term}, believes: {believes}"));
        let belief = if believes {
            self.rng.between(500, 12_000)
        } else {
            0
        };
        self.after(belief, Event::Unlead(leader, term));
        let after = self.rng.between(150, 3000);
        self.after(after, Event::Elect);
    }

    /// A master stops believing that it leads.
    pub(crate) fn unlead(&mut self, master: usize) {
        self.cluster.masters[master].lead = None;
        let theirs: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.master == master)
            .map(|(id, _)| *id)
            .collect();
        for id in theirs {
            self.close(id);
        }
    }

    /// Somebody leads. What was under way is in the log up to some point, and no further.
    pub(crate) fn elect(&mut self) {
        if self.cluster.leader.is_some() {
            return;
        }
        let free: Vec<usize> = (0..self.cluster.masters.len())
            .filter(|m| self.cluster.masters[*m].lead.is_none())
            .collect();
        let Some(leader) = self.rng.one(&free) else {
            // Everybody believes to lead a former term: one of them finds out.
            self.unlead(0);
            return self.after(100, Event::Elect);
        };
        self.catch_up(leader);
        self.cluster.leader = Some(leader);
        let flight = std::mem::take(&mut self.cluster.flight);
        let survive = self.rng.below(flight.len() + 1);
        for (_, proposal) in flight.into_iter().take(survive) {
            self.append(proposal.term, proposal.command);
        }
        self.cluster.term = self.cluster.term.next();
        let term = self.cluster.term;
        self.say(|_| format!("m{leader} leads term {term}"));
        self.begin_term(leader, term);
    }
}
