//! Nobody runs twice, nobody comes back, no port has two masters, no agent listens to the past.

use std::sync::Arc;

use hancock_agent_core::environment::StartSpec;
use hancock_master_core::state::{Stage, State};
use hancock_proto::app::writers::clash;
use hancock_proto::assignment::Assignment;
use hancock_proto::ids::{InstanceId, NodeId, Term};
use hancock_proto::registry::Fence;

use crate::world::World;

impl World {
    /// An agent took an assignment.
    pub(crate) fn judge_heard(&mut self, node: usize, fence: &Fence, assignment: &Assignment) {
        self.oracle.count("assignments");
        let (term, generation) = (assignment.term, assignment.generation);
        let before = self.oracle.heard.get(&node).copied();
        let lower = before.is_some_and(|(t, g)| term < t || generation < g);
        if lower || assignment.term != fence.term || *self.hosts[node].id() != assignment.node {
            let name = self.hosts[node].id().clone();
            return self.fail(format!(
                "{name} took generation {generation} of term {term} after {before:?}"
            ));
        }
        self.oracle.heard.insert(node, (term, generation));
        let beyond = self.cluster.term.max(Term(0));
        if term > beyond {
            self.fail(format!(
                "an assignment is of term {term}, the highest is {beyond}"
            ));
        }
    }

    /// An engine is about to start a container.
    pub(crate) fn judge_start(&mut self, node: usize, spec: &Arc<StartSpec>) {
        self.oracle.count("starts");
        let id = &spec.instance;
        let name = self.hosts[node].id().clone();
        let twice = self.hosts.iter().find(|h| {
            let mut running = h.engine.running();
            running.any(|(other, _)| other == id)
        });
        if let Some(other) = twice {
            let there = other.id().clone();
            return self.fail(format!("{name} starts {id}, which runs on {there}"));
        }
        if self.oracle.over.contains(id) {
            return self.fail(format!("{name} starts {id}, which was over"));
        }
        if let Some(wrong) = self.rival(node, id) {
            return self.fail(format!("{name} starts {id} beside {wrong}"));
        }
        let state = self.cluster.state();
        let wanted = state.instances.get(id);
        if wanted.is_some_and(|i| i.stage != Stage::Ending) {
            let ports: Vec<u16> = spec.host_ports().collect();
            for port in ports {
                self.judge_remembered(node, port, id);
            }
        }
    }

    /// What instances write to, also after nobody knows them any more.
    pub(super) fn remember_volumes(&mut self, state: &State) {
        for (id, instance) in &state.instances {
            let app = state.apps.get(&instance.app);
            if let Some(spec) = app.and_then(|a| a.spec(instance.version)) {
                let writes = || {
                    (
                        instance.app.clone(),
                        spec.command.clone(),
                        spec.volumes.clone(),
                    )
                };
                let known = &mut self.oracle.writes;
                known.entry(id.clone()).or_insert_with(writes);
            }
        }
    }

    /// Who runs and must not beside one that is started: on the node whoever writes to what one of the two has to itself; anywhere
    /// another version of its app that has it to itself, but for one of a different number of replicas, as long as nobody gave it up.
    fn rival(&mut self, node: usize, id: &InstanceId) -> Option<InstanceId> {
        let (app, command, volumes) = self.oracle.writes.get(id)?.clone();
        let alone = volumes.iter().any(|v| v.exclusive);
        let state = self.cluster.state().clone();
        let mut judged = false;
        let mut rival = None;
        for (at, host) in self.hosts.iter().enumerate() {
            for (other, _) in host.engine.running().filter(|(other, _)| *other != id) {
                let Some((theirs, run, written)) = self.oracle.writes.get(other) else {
                    continue;
                };
                let clashes = clash((&app, &volumes), (theirs, written)).is_some();
                let known = state.instances.contains_key(other);
                let former = alone && known && *theirs == app && *run != command;
                judged |= alone;
                if (at == node && clashes) || former {
                    rival = Some(other.clone());
                }
            }
        }
        if judged {
            self.oracle.count("writers");
        }
        rival
    }

    /// A port was given to a new instance.
    pub(super) fn judge_port(&mut self, state: &State, node: &NodeId, port: u16, number: u64) {
        self.oracle.count("ports");
        let mut placed = state.instances.keys();
        let suffix = format!("-{number}");
        let id = placed.find(|id| id.as_str().ends_with(&suffix)).cloned();
        let at = self.hosts.iter().position(|h| h.id() == node);
        if let (Some(at), Some(id)) = (at, id) {
            if !self.hosts[at].info.ports.contains(port) {
                self.fail(format!("{id} got port {port}, which is none of {node}'s"));
            }
            self.judge_remembered(at, port, &id);
        }
    }

    /// No balancer sends to whoever had the port before.
    fn judge_remembered(&mut self, at: usize, port: u16, id: &InstanceId) {
        let address = self.hosts[at].info.address.clone();
        let other = |key: &hancock_balancer_core::upstream::PeerKey| {
            *key.host == *address && key.port == port && key.instance.as_ref() != Some(id)
        };
        let mut wrong = None;
        for host in &self.hosts {
            let views = host.daemon.iter().flat_map(|d| d.balancer.views());
            let mut entries = views.flat_map(|(_, view)| view.entries());
            if let Some(entry) = entries.find(|e| other(e.peer.key())) {
                wrong = Some((host.id().clone(), entry.peer.instance().cloned()));
            }
            let mut docs = host.disk.documents.values();
            let remembers = |s: &hancock_proto::upstream::Server| {
                s.host == address && s.port == port && s.instance.as_ref() != Some(id)
            };
            if let Some(server) = docs.find_map(|d| d.servers().find(|s| remembers(s))) {
                wrong = Some((host.id().clone(), server.instance.clone()));
            }
        }
        let phases = self.requests.values().filter_map(|r| r.phase.as_ref());
        let mut parked = phases.flat_map(|view| view.entries());
        if let Some(entry) = parked.find(|e| other(e.peer.key())) {
            wrong = Some((self.hosts[at].id().clone(), entry.peer.instance().cloned()));
        }
        if let Some((name, Some(before))) = wrong {
            self.fail(format!(
                "port {port} of {address} goes to {id}, {name} remembers {before} there"
            ));
        }
    }
}
