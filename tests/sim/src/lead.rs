//! The leader's loop: asks the core what to do and does it, one piece of work after another. A former leader goes on with it.

use std::collections::VecDeque;

use hancock_master_core::command::{Command, Reply};
use hancock_master_core::{LeaderView, Publication, plan};
use hancock_proto::ids::Term;
use hancock_proto::time::Timestamp;
use hancock_proto::zone::Zone;

use crate::cluster::{Then, cluster_id, fence};
use crate::publish::Publisher;
use crate::specs::CITIES;
use crate::world::{Event, World};

/// A master that believes to lead.
pub(crate) struct Lead {
    pub(crate) term: Term,
    pub(crate) view: LeaderView,
    /// Nodes may open sessions.
    pub(crate) started: bool,
    work: VecDeque<Work>,
    busy: bool,
    /// The turn that is due.
    next: Option<u64>,
    tried: u32,
    done: u32,
    pub(crate) publisher: Publisher,
}

/// One piece of work.
enum Work {
    Propose(Command),
    Publish(Publication),
}

impl World {
    pub(crate) fn begin_term(&mut self, master: usize, term: Term) {
        let view = LeaderView::new(term, self.clock(master));
        self.cluster.masters[master].lead = Some(Lead {
            term,
            view,
            started: false,
            work: VecDeque::new(),
            busy: true,
            next: None,
            tried: 0,
            done: 0,
            publisher: Publisher::default(),
        });
        let at = self.clock(master);
        if self.cluster.masters[master].state.cluster.is_none() {
            let cluster = cluster_id();
            self.propose(master, Command::Init { cluster, at }, Then::Nothing);
            self.make_zones(master, at);
        }
        let leader = format!("m{master}");
        let started = Command::TermStarted { term, leader, at };
        self.propose(master, started, Then::Begun);
    }

    fn make_zones(&mut self, master: usize, at: Timestamp) {
        for city in &CITIES[..2] {
            let selector = [("city".to_owned(), (*city).to_owned())].into();
            let zone = Zone {
                selector,
                external_settle: None,
            };
            let Ok(name) = city.parse() else { continue };
            let put = Command::PutZone { name, zone, at };
            self.propose(master, put, Then::Nothing);
        }
    }

    /// A proposal of this master was applied.
    pub(crate) fn carry_on(&mut self, master: usize, then: Then, reply: Reply) {
        match then {
            Then::Nothing => {}
            Then::Begun => self.raise(master),
            Then::Raised => self.raised(master, matches!(reply, Reply::Raised(None))),
            Then::Step => self.worked(master, !matches!(reply, Reply::Refused(_))),
            Then::Written(publication) => self.written_embedded(master, publication, reply),
            Then::Registered(session, hello) => {
                self.registered(session, &hello, !matches!(reply, Reply::Refused(_)));
            }
            Then::Reported(session) => self.reported(session),
        }
    }

    fn raise(&mut self, master: usize) {
        if self.settings.external {
            return self.ask_raise(master);
        }
        let at = self.clock(master);
        let fence = fence(self.cluster.term);
        self.propose(master, Command::RegistryRaise { fence, at }, Then::Raised);
    }

    /// The fence is up, or another one rules; either way the term has begun.
    pub(crate) fn raised(&mut self, master: usize, up: bool) {
        let Some(lead) = &mut self.cluster.masters[master].lead else {
            return;
        };
        lead.publisher.raised |= up;
        lead.publisher.lost |= !up;
        lead.started = true;
        lead.busy = false;
        self.nudge(master);
    }

    /// A piece of work is through.
    pub(crate) fn worked(&mut self, master: usize, well: bool) {
        let Some(lead) = &mut self.cluster.masters[master].lead else {
            return;
        };
        lead.busy = false;
        lead.done += u32::from(well);
        // Nothing of it could be carried out: asking again at once would get the same answer.
        let stuck = lead.work.is_empty() && lead.done == 0;
        self.turn_in(master, if stuck { 200 } else { 1 });
    }

    /// Something changed that the leader may want to look at.
    pub(crate) fn nudge(&mut self, master: usize) {
        let lead = self.cluster.masters[master].lead.as_ref();
        if lead.is_some_and(|l| l.started && !l.busy) {
            self.turn_in(master, 5);
        }
    }

    fn turn_in(&mut self, master: usize, delay: u64) {
        let at = self.now + delay;
        let Some(lead) = &mut self.cluster.masters[master].lead else {
            return;
        };
        if lead.next.is_none_or(|next| at < next) {
            lead.next = Some(at);
            let term = lead.term;
            self.queue.put(at, Event::Turn(master, term));
        }
    }

    pub(crate) fn leader_turn(&mut self, master: usize, term: Term) {
        let now = self.now;
        let Some(lead) = &mut self.cluster.masters[master].lead else {
            return;
        };
        let due = lead.term == term && lead.next == Some(now);
        if !due || lead.busy || !lead.started {
            return;
        }
        lead.next = None;
        if lead.work.is_empty() {
            self.make_plan(master);
        }
        self.next_work(master);
    }

    fn make_plan(&mut self, master: usize) {
        let now = self.clock(master);
        let known = &mut self.cluster.masters[master];
        let Some(lead) = &mut known.lead else { return };
        let plan = plan(&known.state, &lead.view, now, self.now);
        (lead.tried, lead.done) = (0, 0);
        let publish = plan.publish.into_iter().map(Work::Publish);
        let propose = plan.commands.into_iter().map(Work::Propose);
        lead.work = propose.chain(publish).collect();
        if lead.work.is_empty() {
            let waits = lead.publisher.is_waiting();
            let planned = plan.wake_at.map_or(5000, |at| at.0.saturating_sub(now.0));
            let longest = if waits { 50 } else { 5000 };
            self.turn_in(master, planned.clamp(1, longest));
        }
    }

    fn next_work(&mut self, master: usize) {
        let Some(lead) = &mut self.cluster.masters[master].lead else {
            return;
        };
        let Some(work) = lead.work.pop_front() else {
            return;
        };
        lead.busy = true;
        lead.tried += 1;
        match work {
            Work::Propose(command) => self.propose(master, command, Then::Step),
            Work::Publish(publication) => self.publish(master, publication),
        }
    }

    /// A former leader finds out at last.
    pub(crate) fn end_belief(&mut self, master: usize, term: Term) {
        let lead = self.cluster.masters[master].lead.as_ref();
        let leads = self.cluster.leader == Some(master);
        if lead.is_some_and(|l| l.term == term) && !leads {
            self.say(|_| format!("m{master} finds out that it does not lead"));
            self.unlead(master);
        }
    }

    /// A former leader writes everything it knows, as if nothing had happened since.
    pub(crate) fn haunt(&mut self) {
        let leader = self.cluster.leader;
        for master in (0..self.cluster.masters.len()).filter(|m| Some(*m) != leader) {
            let known = &mut self.cluster.masters[master];
            let Some(lead) = &mut known.lead else {
                continue;
            };
            let apps = known.state.apps.values();
            lead.work = apps
                .filter_map(|app| {
                    Some(Work::Publish(Publication {
                        app: app.name.clone(),
                        index: app.routes.index,
                        batch: hancock_master_core::batch(&known.state, &app.name)?,
                    }))
                })
                .collect();
            lead.busy = false;
            self.turn_in(master, 1);
        }
    }
}
