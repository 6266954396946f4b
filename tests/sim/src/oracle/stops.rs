//! Nobody is stopped who may still be used, and nobody is picked who was stopped.

use std::collections::BTreeSet;

use hancock_master_core::command::{Evidence, StopCause};
use hancock_master_core::state::{Stage, State};
use hancock_proto::ids::InstanceId;
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::UpstreamDoc;

use crate::settings::Fault;
use crate::world::World;

/// A node that nothing happened to for so long was in contact: longer than a leader's clock jumps, shorter than instances are held.
const STEADY: u64 = 50_000;
/// Time until what somebody else wrote is surely written over and heard by everybody who is there.
const MEDDLED: u64 = 30_000;

/// A retired instance that was told to stop.
pub(super) struct Stopped {
    cause: StopCause,
    at: u64,
    /// Nodes that were given up on: they may still use it.
    silent: BTreeSet<usize>,
}

impl World {
    /// A retired instance is told to stop: every balancer that confirmed must be through with it.
    pub(super) fn judge_stop(
        &mut self,
        state: &State,
        id: &InstanceId,
        cause: StopCause,
        evidence: &Evidence,
    ) {
        self.oracle.count("stops");
        let silent: BTreeSet<usize> = (0..self.hosts.len())
            .filter(|n| evidence.silent.contains_key(self.hosts[*n].id()))
            .collect();
        for node in 0..self.hosts.len() {
            let known = state.nodes.contains_key(self.hosts[node].id());
            if silent.contains(&node) {
                self.judge_silence(node, id);
            } else if known {
                self.judge_through(node, id, cause, "is told to stop");
            }
        }
        let at = self.now;
        let stopped = Stopped { cause, at, silent };
        self.oracle.stops.insert(id.clone(), stopped);
    }

    /// A node in contact is not given up on, unless it refused.
    fn judge_silence(&mut self, node: usize, id: &InstanceId) {
        self.oracle.count("stops without every confirmation");
        let now = self.now;
        let host = &mut self.hosts[node];
        let steady = host.linked && host.steady.saturating_add(STEADY) < now;
        let Some(daemon) = host.daemon.as_mut().filter(|_| steady) else {
            return;
        };
        let reports = daemon.balancer.reports();
        let refused = reports.values().any(|s| s.refused.is_some());
        let uses = daemon.balancer.views().any(|(_, view)| {
            let mut entries = view.entries().iter();
            entries.any(|e| e.peer.instance() == Some(id))
        });
        if uses && !refused && self.now > self.oracle.rerouted.max(self.oracle.wiped) + STEADY {
            let name = self.hosts[node].id().clone();
            self.fail(format!(
                "{id} is told to stop while {name}, in contact, uses it"
            ));
        }
    }

    /// Nobody can pick the instance on this node any more; when it is drained, nothing is open on it either.
    fn judge_through(&mut self, node: usize, id: &InstanceId, cause: StopCause, when: &str) {
        let name = self.hosts[node].id().clone();
        if let Some(daemon) = &self.hosts[node].daemon {
            let lists = daemon.balancer.views().any(|(service, view)| {
                let mut entries = view.entries().iter();
                entries.any(|e| e.peer.instance() == Some(id)) && !self.is_orphan(service)
            });
            if lists {
                return self.fail(format!(
                    "{id} {when} ({}), {name} routes to it",
                    cause.prose()
                ));
            }
        } else {
            let mut docs = self.hosts[node].disk.documents.iter();
            let lists = |doc: &UpstreamDoc| doc.servers().any(|s| s.instance.as_ref() == Some(id));
            if docs.any(|(service, doc)| lists(doc) && !self.is_orphan(service)) {
                return self.fail(format!(
                    "{id} {when} ({}), {name} will route to it when it is back",
                    cause.prose()
                ));
            }
        }
        let mut theirs = self.requests.values().filter(|r| r.node == node);
        if cause == StopCause::Drained && theirs.any(|r| r.concerns(id) && !self.is_orphan(&r.name))
        {
            self.fail(format!(
                "{id} {when} as drained, {name} has a request that concerns it"
            ));
        }
    }

    /// A name somebody else has just deleted or written: what he did away with is begun again, with those who were on their way out. Or one
    /// that was given up while the store may have lost everything: it cannot be proven gone, so it is kept.
    pub(super) fn is_orphan(&self, service: &ServiceName) -> bool {
        let wiped = self.oracle.wiped > 0 && self.oracle.removed.contains(service);
        let meddled = self.oracle.meddled.get(service);
        wiped || meddled.is_some_and(|at| self.now < at + MEDDLED)
    }

    /// A request was given to an instance.
    pub(crate) fn judge_pick(
        &mut self,
        node: usize,
        service: &ServiceName,
        began: u64,
        id: &InstanceId,
    ) {
        self.oracle.count("picks");
        let stopped = self.oracle.stops.get(id);
        // A leader whose clock jumps ahead ends a drain early for what had begun.
        let jumps = self.settings.has(Fault::Clock);
        let cut = |s: &&Stopped| jumps && s.cause != StopCause::Drained && began < s.at;
        if self.is_orphan(service) || stopped.filter(cut).is_some() {
            return;
        }
        if stopped.is_some_and(|s| !s.silent.contains(&node)) {
            let name = self.hosts[node].id().clone();
            self.fail(format!(
                "{name} picks {id} for {service} after it was told to stop"
            ));
        }
    }

    /// An agent sends the stop signal.
    pub(crate) fn judge_signal(&mut self, node: usize, id: &InstanceId) {
        self.oracle.count("signals");
        let known = self.cluster.state().instances.get(id);
        let memory = self.hosts[node].disk.journal.instances.get(id);
        // One its agent gave up is over, even when its engine started it after all.
        let failed = memory.is_some_and(|m| m.life.is_over());
        let stage = known.filter(|_| !failed).map(|i| i.stage);
        if stage.is_some_and(|s| s != Stage::Ending) {
            let name = self.hosts[node].id().clone();
            return self.fail(format!("{name} stops {id}, which is {stage:?}"));
        }
        let Some((cause, silent)) = self
            .oracle
            .stops
            .get(id)
            .map(|s| (s.cause, s.silent.clone()))
        else {
            return;
        };
        for other in (0..self.hosts.len()).filter(|n| !silent.contains(n)) {
            self.judge_through(other, id, cause, "gets its stop signal");
        }
    }
}
