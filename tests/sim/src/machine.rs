//! Deeds of engines, exits of containers, and what a connection to a host port meets.

use std::sync::Arc;

use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::instance::{Failure, FailureKind};
use hancock_agent_core::observed::{Ending, Observed};
use hancock_agent_core::reconcile::Action;
use hancock_balancer_core::passive;
use hancock_balancer_core::upstream::PeerKey;
use hancock_proto::ids::{DocIndex, InstanceId};
use hancock_proto::service::ServiceName;

use crate::settings::Fault;
use crate::world::{Daily, EngineEvent, Event, World};

impl World {
    /// The agent begins a deed; it reaches its moment whatever becomes of the agent.
    pub(crate) fn begin_deed(&mut self, node: usize, action: Action) {
        let Some(epoch) = self.hosts[node].epoch() else {
            return;
        };
        self.say(|w| {
            let (id, deed) = (action.instance(), action.deed());
            format!("{} {deed:?} {id}", w.hosts[node].id())
        });
        let delay = match &action {
            Action::Prepare(_) => self.rng.between(5, 400),
            Action::Start(_) => self.rng.between(5, 120),
            Action::Limit(..) | Action::Stop(..) | Action::Kill(_) | Action::Remove(_) => {
                self.rng.between(1, 20)
            }
        };
        let deed = EngineEvent::Deed(epoch, action);
        self.after(delay, Event::Engine(node, deed));
    }

    pub(crate) fn engine(&mut self, node: usize, event: EngineEvent) {
        match event {
            EngineEvent::Deed(epoch, action) if self.hosts[node].power => {
                self.deed(node, epoch, &action);
            }
            EngineEvent::Deed(..) => {}
            EngineEvent::Exit(id, run, by_itself) => self.exit(node, &id, run, by_itself),
        }
    }

    fn deed(&mut self, node: usize, epoch: u64, action: &Action) {
        let faulty = self.settings.has(Fault::Engine) && !self.peace;
        let (fails, lies) = (faulty && self.rng.percent(5), faulty && self.rng.percent(4));
        let fault = failure(FailureKind::Temporary, "the engine says no");
        if fails {
            return self.deed_done(node, epoch, action, Err(fault), 1);
        }
        let now = self.now;
        let engine = &mut self.hosts[node].engine;
        let outcome = match action {
            Action::Prepare(_) | Action::Limit(..) => Ok(None),
            Action::Start(spec) => self.start(node, spec),
            Action::Stop(id, rule) => {
                let run = engine.signal(id, now);
                let grace = u64::try_from(rule.grace.duration().as_millis()).unwrap_or(5000);
                return self.stopping(node, epoch, action, run, grace);
            }
            Action::Kill(id) => {
                let run = engine.signal(id, now);
                return self.stopping(node, epoch, action, run, 30);
            }
            Action::Remove(id) => {
                engine.remove(id);
                Ok(None)
            }
        };
        let outcome = if lies {
            outcome.and(Err(fault))
        } else {
            outcome
        };
        self.deed_done(node, epoch, action, outcome, 1);
    }

    /// One that runs already is left alone and shown.
    fn start(&mut self, node: usize, spec: &Arc<StartSpec>) -> Result<Option<Observed>, Failure> {
        let there = self.hosts[node].engine.get(&spec.instance);
        if let Some(container) = there.filter(|c| c.observed.is_running()) {
            return Ok(Some(container.observed.clone()));
        }
        self.judge_start(node, spec);
        let started = self.hosts[node].engine.start(spec, self.now);
        let run = started.map_err(|reason| {
            self.say(|_| format!("{} does not start: {reason}", spec.instance));
            failure(FailureKind::Temporary, &reason)
        })?;
        if spec.environment.contains_key("CRASH") {
            let exit = EngineEvent::Exit(spec.instance.clone(), run, true);
            self.after(60, Event::Engine(node, exit));
        }
        let container = self.hosts[node].engine.get(&spec.instance);
        Ok(container.map(|c| c.observed.clone()))
    }

    /// The signal is out; the container ends within its grace period, and then the deed is done.
    fn stopping(&mut self, node: usize, epoch: u64, action: &Action, run: Option<u64>, grace: u64) {
        let mut ends = 1;
        if let Some(run) = run {
            let id = action.instance().clone();
            self.judge_signal(node, &id);
            ends = self.rng.between(1, grace);
            let exit = EngineEvent::Exit(id, run, false);
            self.after(ends, Event::Engine(node, exit));
        }
        self.deed_done(node, epoch, action, Ok(None), ends + 1);
    }

    fn deed_done(
        &mut self,
        node: usize,
        epoch: u64,
        action: &Action,
        outcome: Result<Option<Observed>, Failure>,
        delay: u64,
    ) {
        let done = Daily::Done(action.instance().clone(), action.deed(), outcome);
        self.after(delay, Event::Daemon(node, epoch, done));
    }

    fn exit(&mut self, node: usize, id: &InstanceId, run: u64, by_itself: bool) {
        let how = if by_itself {
            Ending::Code(1)
        } else {
            Ending::Signal(15)
        };
        if !self.hosts[node].engine.exit(id, Some(run), how, self.now) {
            return;
        }
        if by_itself {
            self.oracle.crashed(id, self.now);
        }
        self.say(|w| {
            format!(
                "{} {id} has ended, by itself: {by_itself}",
                w.hosts[node].id()
            )
        });
        // The notice may be lost; the next list tells anyway.
        let lost = self.rng.percent(10);
        if let Some(daemon) = self.hosts[node].daemon.as_mut().filter(|_| !lost) {
            daemon.list_wanted = true;
            self.agent_turn(node);
        }
    }

    /// The machine at an address.
    pub(crate) fn machine(&self, host: &str) -> Option<usize> {
        self.hosts.iter().position(|h| h.info.address == host)
    }

    /// What a connection from `node` to a peer meets: who listens there, or why nobody does.
    pub(crate) fn connect(
        &self,
        node: usize,
        key: &PeerKey,
    ) -> Result<(usize, InstanceId), passive::Failure> {
        let far = self.machine(&key.host);
        let there = far.filter(|far| self.hosts[*far].power && self.reaches(node, *far));
        let Some(there) = there else {
            return Err(passive::Failure::Unreachable);
        };
        let who = self.hosts[there].engine.at_port(key.port);
        let (id, _) = who.ok_or(passive::Failure::Refused)?;
        Ok((there, id.clone()))
    }

    /// Whether packets get from one machine to another and back.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        from == to
            || !(self.hosts[from].blocked.contains(&to) || self.hosts[to].blocked.contains(&from))
    }

    /// Whether a request from `node` to this peer would be answered well.
    pub(crate) fn serves(&self, node: usize, key: &PeerKey) -> bool {
        self.probe(node, key).is_ok()
    }

    /// A probe of whatever listens at a port: does it answer well?
    fn probe(&self, node: usize, key: &PeerKey) -> Result<(), String> {
        let (there, id) = self.connect(node, key).map_err(|f| format!("{f:?}"))?;
        let container = self.hosts[there].engine.get(&id);
        if container.is_some_and(|c| c.answers(self.now)) {
            Ok(())
        } else {
            Err("status 503".to_owned())
        }
    }

    /// The task that judges an instance of its own node.
    pub(crate) fn probe_local(&mut self, node: usize, id: InstanceId, generation: u64) {
        let now = self.time();
        let address = self.hosts[node].info.address.clone();
        let daemon = self.hosts[node].daemon.as_ref();
        let check = daemon.and_then(|d| d.balancer.local_check(&id, generation));
        // No app here is checked by a command.
        let Some((check, port)) = check.and_then(|c| c.host_port.map(|port| (c, port))) else {
            return;
        };
        let key = PeerKey {
            host: address.into(),
            port,
            instance: None,
        };
        let result = self.probe(node, &key);
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        let ready = daemon.balancer.local_probed(&id, result, now);
        let pause = if ready {
            check.spec.interval
        } else {
            check.spec.start_interval
        };
        let pause = u64::try_from(pause.duration().as_millis()).unwrap_or(1000);
        let jitter = self.rng.between(pause * 9 / 10, pause * 11 / 10);
        self.daemon_after(node, jitter, Daily::Local(id, generation));
    }

    /// The task that probes an added peer until it passes.
    pub(crate) fn probe_added(
        &mut self,
        node: usize,
        name: ServiceName,
        id: InstanceId,
        index: DocIndex,
    ) {
        let daemon = self.hosts[node].daemon.as_ref();
        let upstream = daemon.and_then(|d| d.balancer.accepting(&name, &id, index));
        let Some(upstream) = upstream else { return };
        let mut peers = upstream.peers();
        let Some(spec) = peers.find(|p| p.key.instance.as_ref() == Some(&id)) else {
            return;
        };
        let result = self.probe(node, &spec.key);
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        if daemon.balancer.accept_probed(&name, &id, result) {
            let pause = self.rng.between(180, 220);
            self.daemon_after(node, pause, Daily::Accept(name, id, index));
        }
    }
}

fn failure(kind: FailureKind, reason: &str) -> Failure {
    Failure {
        kind,
        reason: reason.to_owned(),
    }
}
