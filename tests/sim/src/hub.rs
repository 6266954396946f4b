//! Sessions between agents and the master they believe in. A session is a stream: it keeps its order or it breaks. Reports and
//! assignments, which say everything, may also come late, twice, or in another order.

use hancock_master_core::command::Command;
use hancock_master_core::{assignment, registry_news};
use hancock_proto::hub::{AgentMessage, Hello, HubMessage};
use hancock_proto::ids::{Generation, NodeId, Revision, Term};
use hancock_proto::report::Report;

use crate::cluster::{Then, fence};
use crate::settings::Fault;
use crate::world::{Event, World};

/// One session.
pub(crate) struct Session {
    pub(crate) node: usize,
    pub(crate) master: usize,
    pub(crate) term: Term,
    /// Generation and registry revision sent in it.
    generation: Option<Generation>,
    revision: Option<Revision>,
    registered: bool,
    /// Newest report not yet looked at, and whether one is being written.
    report: Option<Report>,
    writing: bool,
    /// When the last message of each direction arrives.
    last_up: u64,
    last_down: u64,
}

impl World {
    /// A daemon looks for a master that believes to lead.
    pub(crate) fn dial(&mut self, node: usize) {
        let host = &self.hosts[node];
        let Some(daemon) = host.daemon.as_ref().filter(|d| d.session.is_none()) else {
            return;
        };
        let knows_cluster = daemon.record.session.cluster.is_some();
        let hello = Hello {
            info: host.info.clone(),
            boot: daemon.boot.clone(),
            generation: daemon.record.session.generation,
            registry: daemon.watcher.revision().filter(|_| knows_cluster),
            surroundings: true,
        };
        let started = |m: &usize| {
            let lead = self.cluster.masters[*m].lead.as_ref();
            lead.is_some_and(|l| l.started)
        };
        let leaders: Vec<usize> = (0..self.cluster.masters.len()).filter(started).collect();
        let Some(master) = self.rng.one(&leaders).filter(|_| self.hosts[node].linked) else {
            return self.redial(node);
        };
        let Some(term) = self.cluster.masters[master].lead.as_ref().map(|l| l.term) else {
            return;
        };
        let id = self.number();
        let session = Session {
            node,
            master,
            term,
            generation: None,
            revision: hello.registry,
            registered: false,
            report: None,
            writing: false,
            last_up: 0,
            last_down: 0,
        };
        self.sessions.insert(id, session);
        if let Some(daemon) = &mut self.hosts[node].daemon {
            daemon.session = Some(id);
            daemon.last = None;
        }
        self.send_up(id, AgentMessage::Hello(hello));
        self.offer(node);
        self.agent_turn(node);
    }

    /// Opens a session again after a growing pause.
    pub(crate) fn redial(&mut self, node: usize) {
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        daemon.failures = (daemon.failures + 1).min(6);
        let pause = (50 << (daemon.failures - 1)).min(1000);
        self.daemon_after(node, pause, crate::world::Daily::Dial);
    }

    /// A session ends, for both sides.
    pub(crate) fn close(&mut self, id: u64) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        let now = self.clock(session.master);
        let node = self.hosts[session.node].id().clone();
        let lead = self.cluster.masters[session.master].lead.as_mut();
        if let Some(lead) = lead.filter(|l| l.term == session.term) {
            lead.view.disconnected(&node, now);
        }
        let daemon = self.hosts[session.node].daemon.as_mut();
        if let Some(daemon) = daemon.filter(|d| d.session == Some(id)) {
            daemon.session = None;
            self.redial(session.node);
        }
    }

    /// Delay and order of a message. None: it is lost, which a stream never does to one message alone.
    fn flight(&mut self, free: bool) -> u64 {
        let faulty = free && self.settings.has(Fault::Mail) && !self.peace;
        if faulty && self.rng.percent(10) {
            return self.rng.between(100, 4000);
        }
        self.rng.between(1, 20)
    }

    pub(crate) fn send_up(&mut self, id: u64, message: AgentMessage) {
        let free = matches!(message, AgentMessage::Report(_));
        let faulty = free && self.settings.has(Fault::Mail) && !self.peace;
        let mut at = self.now + self.flight(free);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if !faulty {
            at = at.max(session.last_up);
            session.last_up = at;
        }
        if faulty && self.rng.percent(5) {
            let again = at + self.rng.between(1, 3000);
            self.queue.put(again, Event::Up(id, message.clone()));
        }
        self.queue.put(at, Event::Up(id, message));
    }

    fn send_down(&mut self, id: u64, message: HubMessage) {
        let free = matches!(message, HubMessage::Assignment(_));
        let faulty = free && self.settings.has(Fault::Mail) && !self.peace;
        let mut at = self.now + self.flight(free);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let fence = fence(session.term);
        if !faulty {
            at = at.max(session.last_down);
            session.last_down = at;
        }
        if faulty && self.rng.percent(5) {
            let again = at + self.rng.between(1, 3000);
            let twice = Event::Down(id, fence.clone(), message.clone());
            self.queue.put(again, twice);
        }
        self.queue.put(at, Event::Down(id, fence, message));
    }

    /// A message of an agent arrives.
    pub(crate) fn up(&mut self, id: u64, message: AgentMessage) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let (node, master, term) = (session.node, session.master, session.term);
        if !self.hosts[node].linked {
            return;
        }
        let now = self.clock(master);
        let name = self.hosts[node].id().clone();
        let lead = self.cluster.masters[master].lead.as_mut();
        let Some(lead) = lead.filter(|l| l.term == term) else {
            return self.close(id);
        };
        match message {
            AgentMessage::Hello(hello) => self.hello(id, master, hello),
            AgentMessage::Offer(offer) => {
                lead.view.offer(&name, offer, now);
                self.nudge(master);
            }
            AgentMessage::Report(report) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    let waiting = session.report.as_ref();
                    // One that comes late must not take the place of a newer one that waits.
                    if waiting.is_none_or(|w| w.sequence <= report.sequence) {
                        session.report = Some(report);
                    }
                }
                self.take_report(id);
            }
            AgentMessage::Logs(_) | AgentMessage::Answer { .. } | AgentMessage::Exec { .. } => {}
        }
    }

    fn hello(&mut self, id: u64, master: usize, hello: Hello) {
        let known = &self.cluster.masters[master].state.nodes;
        let known = known.get(&hello.info.node);
        if known.is_some_and(|n| n.info == hello.info && n.boot == hello.boot) {
            return self.registered(id, &hello, true);
        }
        let register = Command::RegisterNode {
            info: hello.info.clone(),
            boot: hello.boot.clone(),
            at: self.clock(master),
        };
        self.propose(master, register, Then::Registered(id, hello));
    }

    pub(crate) fn registered(&mut self, id: u64, hello: &Hello, well: bool) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if !well {
            return self.close(id);
        }
        session.registered = true;
        let master = session.master;
        let now = self.clock(master);
        if let Some(lead) = &mut self.cluster.masters[master].lead {
            lead.view.hello(hello, now);
        }
        self.nudge(master);
        self.news_of(id);
        self.take_report(id);
    }

    fn take_report(&mut self, id: u64) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.writing || !session.registered {
            return;
        }
        let Some(report) = session.report.take() else {
            return;
        };
        let master = session.master;
        let now = self.clock(master);
        let known = &mut self.cluster.masters[master];
        let Some(lead) = &mut known.lead else { return };
        let command = lead.view.report(&known.state, &report, now);
        self.nudge(master);
        let Some(command) = command else { return };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.writing = true;
        }
        self.propose(master, command, Then::Reported(id));
    }

    pub(crate) fn reported(&mut self, id: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.writing = false;
        }
        self.take_report(id);
    }

    /// A master applied something: its sessions may have news.
    pub(crate) fn news(&mut self, master: usize) {
        let theirs: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.master == master && s.registered)
            .map(|(id, _)| *id)
            .collect();
        for id in theirs {
            self.news_of(id);
        }
    }

    /// What the state says beyond what was sent: level, not edge.
    fn news_of(&mut self, id: u64) {
        let external = self.settings.external;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let state = &self.cluster.masters[session.master].state;
        let node: &NodeId = self.hosts[session.node].id();
        let mut out = Vec::new();
        let news = registry_news(state, node, session.revision);
        if let Some(message) = news.filter(|_| !external) {
            session.revision = Some(state.registry.revision());
            out.push(message);
        }
        if session.generation != Some(state.generation(node))
            && let Some(assignment) = assignment(state, session.term, node)
        {
            session.generation = Some(assignment.generation);
            out.push(HubMessage::Assignment(assignment));
        }
        for message in out {
            self.send_down(id, message);
        }
    }
}
