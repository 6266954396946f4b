//! The agent's loop around the real core: receive, ask the core, store, carry out, report.

use std::collections::BTreeMap;

use hancock_agent_core::instance::FailureKind;
use hancock_proto::assignment::Assignment;
use hancock_proto::hub::{AgentMessage, HubMessage};
use hancock_proto::ids::InstanceId;
use hancock_proto::registry::Fence;
use hancock_proto::report::{Condition, InstanceReport, Life, Report};
use hancock_proto::resources::Offer;
use hancock_proto::time::Timestamp;

use crate::balancer::LocalSpec;
use crate::host::Daemon;
use crate::world::{Daily, Event, World};

/// Time between offers.
const OFFER: u64 = 3000;
/// The engine is listed at least this often.
const LIST: u64 = 10_000;

impl World {
    /// A daemon begins on a node that has none.
    pub(crate) fn boot(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if !host.power || host.daemon.is_some() {
            return;
        }
        host.boot();
        host.steady = self.now;
        let boots = host.boots;
        self.say(|w| format!("{} boot {boots}", w.hosts[node].id()));
        self.daemon_after(node, 1, Daily::Dial);
        self.daemon_after(node, OFFER, Daily::Offer);
        self.daemon_after(node, LIST, Daily::ListDue);
        if self.settings.external {
            self.daemon_after(node, 5, Daily::Watch);
        }
        self.agent_turn(node);
    }

    /// Something happens in a daemon.
    pub(crate) fn daily(&mut self, node: usize, daily: Daily) {
        let now = self.time();
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        match daily {
            Daily::Turn if daemon.wake == Some(now.0) => daemon.wake = None,
            Daily::Turn => return,
            Daily::Dial => return self.dial(node),
            Daily::Offer => {
                self.offer(node);
                return self.daemon_after(node, OFFER, Daily::Offer);
            }
            Daily::Look(stamp) => {
                let list = self.hosts[node].engine.list();
                let delay = self.rng.between(1, 40);
                return self.daemon_after(node, delay, Daily::Listed(stamp, list));
            }
            Daily::Listed(stamp, list) => {
                daemon.listing = false;
                daemon.node.observe(list, stamp);
            }
            Daily::ListDue => {
                daemon.list_wanted = true;
                self.daemon_after(node, LIST, Daily::ListDue);
            }
            Daily::Done(id, deed, outcome) => {
                if let Err(failure) = &outcome
                    && failure.kind == FailureKind::Unavailable
                {
                    daemon.node.unavailable(failure.reason.clone());
                }
                daemon.node.done(&id, deed, outcome, now);
            }
            Daily::BalancerTurn => daemon.balancer.turn(now),
            Daily::Durable(name, sequence, doc) => self.durable(node, &name, sequence, doc),
            Daily::Local(id, generation) => self.probe_local(node, id, generation),
            Daily::Accept(name, id, index) => self.probe_added(node, name, id, index),
            Daily::Watch => self.watch(node),
        }
        self.agent_turn(node);
    }

    pub(crate) fn offer(&mut self, node: usize) {
        let session = self.hosts[node].daemon.as_ref().and_then(|d| d.session);
        if let Some(id) = session {
            self.send_up(id, AgentMessage::Offer(Offer::default()));
        }
    }

    /// A message of a master arrives.
    pub(crate) fn down(&mut self, id: u64, fence: &Fence, message: HubMessage) {
        let Some(node) = self.sessions.get(&id).map(|s| s.node) else {
            return;
        };
        let host = &mut self.hosts[node];
        let daemon = host.daemon.as_mut();
        let Some(daemon) = daemon.filter(|d| d.session == Some(id)) else {
            return;
        };
        if !host.linked {
            return;
        }
        if daemon.record.session.admit(fence).is_err() {
            self.say(|w| format!("{} refuses term {}", w.hosts[node].id(), fence.term));
            return self.close(id);
        }
        host.disk.journal.session = daemon.record.session.clone();
        daemon.failures = 0;
        match message {
            HubMessage::Assignment(assignment) => self.hear(node, fence, assignment),
            HubMessage::RegistryList(listing) => {
                let applies = daemon.watcher.list(&listing);
                self.apply_documents(node, applies);
            }
            HubMessage::RegistryChanges { revision, changes } => {
                let applies = daemon.watcher.changes(revision, &changes);
                self.apply_documents(node, applies);
            }
            HubMessage::Registry { .. }
            | HubMessage::Masters { .. }
            | HubMessage::Logs(_)
            | HubMessage::LogsEnd { .. }
            | HubMessage::Ask { .. }
            | HubMessage::Exec { .. } => {}
        }
        self.agent_turn(node);
    }

    /// Takes an assignment: on disk first, acted upon after.
    fn hear(&mut self, node: usize, fence: &Fence, assignment: Assignment) {
        let host = &mut self.hosts[node];
        let id = host.info.node.clone();
        let Some(daemon) = &mut host.daemon else {
            return;
        };
        if daemon.record.session.take(&id, fence, &assignment).is_err() {
            return;
        }
        host.disk.journal.session = daemon.record.session.clone();
        host.disk.journal.assignment = Some(assignment.clone());
        daemon.node.assign(assignment.clone());
        self.judge_heard(node, fence, &assignment);
    }

    /// Plans on what is known now, stores, begins what is planned, tells what has changed.
    pub(crate) fn agent_turn(&mut self, node: usize) {
        let now = self.time();
        let host = &mut self.hosts[node];
        let Some(daemon) = &mut host.daemon else {
            return;
        };
        let plan = daemon.node.plan(now);
        let memory = daemon.node.memory();
        if host.disk.journal.instances != memory {
            host.disk.journal.instances = memory;
        }
        host.disk.journal.registry = daemon.record.registry;
        host.disk.journal.store = daemon.record.store;
        let epoch = daemon.epoch;
        let wake = plan.wake_at.map(|at| at.0.max(now.0 + 1));
        if let Some(at) = wake.filter(|at| daemon.wake.is_none_or(|have| *at < have)) {
            daemon.wake = Some(at);
            self.queue.put(at, Event::Daemon(node, epoch, Daily::Turn));
        }
        for action in plan.actions {
            self.begin_deed(node, action);
        }
        self.watch_local(node);
        self.balancer_effects(node);
        self.list(node);
        self.report(node, plan.reports);
    }

    fn list(&mut self, node: usize) {
        let delay = self.rng.between(1, 40);
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        let wanted = daemon.list_wanted || daemon.node.needs_list();
        if !wanted || daemon.listing {
            return;
        }
        (daemon.listing, daemon.list_wanted) = (true, false);
        let stamp = daemon.node.begin_list();
        self.daemon_after(node, delay, Daily::Look(stamp));
    }

    fn watch_local(&mut self, node: usize) {
        let now = self.time();
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        let running: BTreeMap<InstanceId, LocalSpec> = daemon
            .node
            .running()
            .filter(|(_, assigned, _)| !assigned.run.ports.is_empty())
            .map(|(id, assigned, _)| (id.clone(), assigned.check.clone()))
            .collect();
        if running != daemon.watched {
            daemon.balancer.watch_local(&running, now);
            daemon.watched = running;
        }
    }

    /// Reports, when something changed since the session's last report.
    fn report(&mut self, node: usize, mut instances: BTreeMap<InstanceId, InstanceReport>) {
        let name = self.hosts[node].id().clone();
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        let Some(session) = daemon.session else {
            return;
        };
        judge(daemon, &mut instances);
        let mut report = Report {
            node: name,
            boot: daemon.boot.clone(),
            sequence: daemon.sequence,
            generation: daemon.record.session.generation,
            instances,
            services: daemon.balancer.reports(),
            registry: daemon.watcher.revision(),
            follows: None,
        };
        if daemon.last.as_ref() == Some(&report) {
            return;
        }
        daemon.sequence += 1;
        report.sequence = daemon.sequence;
        daemon.last = Some(report.clone());
        self.judge_report(node, &report);
        self.send_up(session, AgentMessage::Report(report));
    }
}

/// Adds the balancer's verdicts.
fn judge(daemon: &Daemon, instances: &mut BTreeMap<InstanceId, InstanceReport>) {
    let verdicts = daemon.balancer.readiness();
    let assigned = daemon.node.assignment().map(|a| &a.instances);
    for (id, report) in instances {
        let one = assigned.and_then(|a| a.get(id));
        let checked = one.is_none_or(|a| a.check.is_some());
        report.ready = match report.life {
            Life::Running if checked => verdicts.get(id).cloned(),
            Life::Running => condition(true, report.since),
            _ if report.restarts > 0 => condition(false, report.since),
            _ => None,
        };
    }
}

fn condition(value: bool, since: Timestamp) -> Option<Condition> {
    let reason = String::new();
    Some(Condition {
        value,
        since,
        reason,
    })
}
