//! Everything there is, and the loop that lets one thing happen after another.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use hancock_agent_core::instance::{Deed, Failure};
use hancock_agent_core::node::Stamp;
use hancock_agent_core::observed::Observed;
use hancock_agent_core::reconcile::Action;
use hancock_proto::hub::{AgentMessage, HubMessage};
use hancock_proto::ids::{DocIndex, InstanceId, Term};
use hancock_proto::registry::Fence;
use hancock_proto::service::ServiceName;
use hancock_proto::time::Timestamp;
use hancock_proto::upstream::UpstreamDoc;

use crate::clients::Request;
use crate::cluster::Cluster;
use crate::host::Host;
use crate::hub::Session;
use crate::oracle::Oracle;
use crate::publish::{Answer, Ask};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::store::External;

/// Virtual time begins here, in milliseconds.
pub(crate) const BEGIN: u64 = 1_000_000;

/// Lines of the trace kept.
const TRACE: usize = 100_000;

/// Something that will happen.
pub(crate) enum Event {
    /// The next wish or fault.
    Next,
    /// A proposal is committed.
    Commit(u64),
    /// A master applies what it has not.
    Follow(usize),
    /// Somebody is elected.
    Elect,
    /// A former leader finds out.
    Unlead(usize, Term),
    /// The leader's turn.
    Turn(usize, Term),
    /// A leader's word reaches the store outside.
    Ask(usize, Term, Ask),
    /// The store's answer reaches the leader.
    Answer(usize, Term, Answer),
    /// From an agent, by session.
    Up(u64, AgentMessage),
    /// To an agent, by session.
    Down(u64, Fence, HubMessage),
    /// A session nobody can use is noticed.
    Broken(u64),
    /// In a daemon, by node and epoch.
    Daemon(usize, u64, Daily),
    /// In a machine's engine.
    Engine(usize, EngineEvent),
    /// The next request arrives at a node.
    Client(usize),
    /// A request is routed.
    Pick(u64),
    /// A connection was tried.
    Dialled(u64),
    /// A request ends.
    Answered(u64),
}

/// What happens in a daemon.
pub(crate) enum Daily {
    Turn,
    Dial,
    Offer,
    /// The engine looks.
    Look(Stamp),
    Listed(Stamp, Vec<Observed>),
    ListDue,
    Done(InstanceId, Deed, Result<Option<Observed>, Failure>),
    BalancerTurn,
    Durable(ServiceName, u64, Option<Arc<UpstreamDoc>>),
    Local(InstanceId, u64),
    Accept(ServiceName, InstanceId, DocIndex),
    /// The store outside is asked for news.
    Watch,
}

/// What happens in an engine.
pub(crate) enum EngineEvent {
    /// A deed reaches its moment, for the daemon of that epoch.
    Deed(u64, Action),
    /// A container ends: instance, run, whether by itself.
    Exit(InstanceId, u64, bool),
}

/// See the module.
pub struct World {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) settings: Settings,
    pub(crate) queue: Queue<Event>,
    pub(crate) cluster: Cluster,
    pub(crate) external: External,
    pub(crate) hosts: Vec<Host>,
    pub(crate) sessions: BTreeMap<u64, Session>,
    pub(crate) requests: BTreeMap<u64, Request>,
    pub(crate) oracle: Oracle,
    /// Numbers for sessions, requests and proposals.
    pub(crate) numbers: u64,
    /// Wishes and faults left.
    pub(crate) steps: usize,
    /// Faults have ended.
    pub(crate) peace: bool,
    trace: Option<String>,
    /// Of every event: two runs of one seed must agree.
    digest: u64,
    pub(crate) violation: Option<String>,
}

impl World {
    /// The world of a seed, at its beginning.
    pub fn new(seed: u64, steps: usize, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let settings = Settings::new(&mut rng);
        Self::begun(rng, settings, steps, verbose)
    }

    /// A world with these settings, everything else drawn from the seed.
    pub(crate) fn of(seed: u64, settings: Settings, steps: usize, verbose: bool) -> Self {
        Self::begun(Rng::new(seed), settings, steps, verbose)
    }

    fn begun(rng: Rng, settings: Settings, steps: usize, verbose: bool) -> Self {
        let hosts = (1..=settings.nodes).map(|n| Host::new(n, settings.ports));
        let mut world = Self {
            now: BEGIN,
            queue: Queue::default(),
            cluster: Cluster::new(3),
            external: External::default(),
            hosts: hosts.collect(),
            sessions: BTreeMap::new(),
            requests: BTreeMap::new(),
            oracle: Oracle::default(),
            numbers: 0,
            steps,
            peace: false,
            trace: verbose.then(String::new),
            digest: 0,
            violation: None,
            rng,
            settings,
        };
        world.say(|w| format!("{:?}", w.settings));
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.elect();
        for node in 0..self.hosts.len() {
            self.boot(node);
            let first = self.rng.between(500, 1500);
            self.after(first, Event::Client(node));
        }
        self.after(3000, Event::Next);
    }

    /// Lets things happen until `done` or until something is wrong.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&World) -> bool) {
        while self.violation.is_none() && !done(self) {
            let Some((time, event)) = self.queue.next() else {
                return self.fail("nothing will ever happen again".to_owned());
            };
            self.now = time;
            self.handle(event);
            let mark = self.now ^ self.queue.count().rotate_left(32);
            self.digest = self.digest.wrapping_mul(0x0100_0000_01b3) ^ mark;
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Next => self.next_deed(),
            Event::Commit(id) => self.commit(id),
            Event::Follow(master) => self.follow(master),
            Event::Elect => self.elect(),
            Event::Unlead(master, term) => self.end_belief(master, term),
            Event::Turn(master, term) => self.leader_turn(master, term),
            Event::Ask(master, term, ask) => self.asked(master, term, ask),
            Event::Answer(master, term, answer) => self.answered_by_store(master, term, answer),
            Event::Up(session, message) => self.up(session, message),
            Event::Down(session, fence, message) => self.down(session, &fence, message),
            Event::Broken(session) => self.close(session),
            Event::Daemon(node, epoch, daily) if self.hosts[node].epoch() == Some(epoch) => {
                self.daily(node, daily);
            }
            Event::Daemon(..) => {}
            Event::Engine(node, event) => self.engine(node, event),
            Event::Client(node) => self.client(node),
            Event::Pick(id) => self.pick(id),
            Event::Dialled(id) => self.dialled(id),
            Event::Answered(id) => self.answered(id),
        }
    }

    /// `event` happens so many milliseconds from now.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.queue.put(self.now + delay, event);
    }

    /// Something happens in the daemon that runs on `node` now.
    pub(crate) fn daemon_after(&mut self, node: usize, delay: u64, daily: Daily) {
        if let Some(epoch) = self.hosts[node].epoch() {
            self.after(delay, Event::Daemon(node, epoch, daily));
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The true time.
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// A line of the trace; made only when somebody reads it.
    pub(crate) fn say(&mut self, line: impl FnOnce(&World) -> String) {
        if self.trace.is_none() {
            return;
        }
        let (text, now) = (line(self), self.now - BEGIN);
        if let Some(trace) = &mut self.trace {
            // Writing to a String cannot fail.
            let _ = writeln!(trace, "{:>4}.{:03} {text}", now / 1000, now % 1000);
        }
    }

    /// Something is wrong: the first finding counts.
    pub(crate) fn fail(&mut self, what: String) {
        self.say(|_| format!("WRONG: {what}"));
        self.violation.get_or_insert(what);
    }

    /// The trace; empty unless the world was made verbose.
    pub fn trace(&self) -> String {
        let trace = self.trace.clone().unwrap_or_default();
        let lines: Vec<_> = trace.lines().collect();
        lines[lines.len().saturating_sub(TRACE)..].join("\n")
    }

    /// A number that depends on everything that happened.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The virtual time passed, in seconds.
    pub fn seconds(&self) -> u64 {
        (self.now - BEGIN) / 1000
    }
}
