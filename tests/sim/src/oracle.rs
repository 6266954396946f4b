//! What must hold at every step, judged with everything in sight. It knows what no part of the system knows: who really runs, who may
//! still be picked by whom, what is really on each disk.

mod routes;
mod runs;
mod stops;

use std::collections::{BTreeMap, BTreeSet};

use hancock_master_core::command::{Command, Reply};
use hancock_master_core::state::{Phase, State};
use hancock_master_core::{documents, invariants};
use hancock_proto::app::Volume;
use hancock_proto::assignment::PortBinding;
use hancock_proto::ids::{AppName, DeploymentId, DocIndex, Generation, InstanceId, Term};
use hancock_proto::registry::Outcome;
use hancock_proto::service::ServiceName;

use crate::clients::Request;
use crate::cluster::fence;
use crate::world::World;
use stops::Stopped;

/// What it remembers.
#[derive(Default)]
pub(crate) struct Oracle {
    /// Requests that ended well, and those that did not.
    pub(crate) served: u64,
    pub(crate) failed: u64,
    /// When instances ended by themselves last.
    crashes: BTreeMap<InstanceId, u64>,
    /// When routes between machines changed last, and when the store lost everything.
    pub(crate) rerouted: u64,
    pub(crate) wiped: u64,
    /// When somebody else wrote a name last.
    pub(crate) meddled: BTreeMap<ServiceName, u64>,
    /// Highest term and generation each node took.
    heard: BTreeMap<usize, (Term, Generation)>,
    /// Retired instances that were told to stop.
    stops: BTreeMap<InstanceId, Stopped>,
    /// Instances that have ended for good, and said so.
    over: BTreeSet<InstanceId>,
    /// Documents that route to nobody because somebody wished it, and names that were given up.
    empty: BTreeSet<DocIndex>,
    removed: BTreeSet<ServiceName>,
    ended: BTreeMap<DeploymentId, Phase>,
    /// What each instance that ever was runs, and what it writes to.
    writes: BTreeMap<InstanceId, (AppName, Vec<String>, Vec<Volume>)>,
    /// No request that begins from then on may fail.
    pub(crate) strict: Option<u64>,
    /// How often what was judged, to see that the net is wide.
    pub(crate) judged: BTreeMap<&'static str, u64>,
}

impl Oracle {
    pub(crate) fn crashed(&mut self, id: &InstanceId, now: u64) {
        self.crashes.insert(id.clone(), now);
    }

    fn count(&mut self, what: &'static str) {
        *self.judged.entry(what).or_default() += 1;
    }
}

impl World {
    /// A command was applied.
    pub(crate) fn judge_command(
        &mut self,
        before: &State,
        term: Term,
        command: &Command,
        reply: &Reply,
    ) {
        if matches!(reply, Reply::Refused(_)) {
            return self.oracle.count("refused");
        }
        let state = self.cluster.state().clone();
        let wrong = invariants::check(&state);
        if !wrong.is_empty() {
            return self.fail(format!("after {command}: {}", wrong.join("; ")));
        }
        self.remember_routes(before, &state);
        self.judge_dropped(before, &state);
        self.judge_ends(&state);
        match command {
            Command::StopInstances {
                stops, evidence, ..
            } => {
                for (id, cause) in stops {
                    self.judge_stop(&state, id, *cause, evidence);
                }
            }
            Command::Place {
                first, placements, ..
            } => {
                self.remember_volumes(&state);
                for (n, placement) in (*first..).zip(placements) {
                    let node = placement.node.clone();
                    for port in placement.ports.iter().flat_map(PortBinding::hosts) {
                        self.judge_port(&state, &node, port, n);
                    }
                }
            }
            Command::Report { instances, .. } => {
                let over = |id: &&InstanceId| state.instances.get(*id).is_none_or(|i| i.is_over());
                let over: Vec<_> = instances.keys().filter(over).cloned().collect();
                self.oracle.over.extend(over);
            }
            Command::RegistryPublish {
                batch, fence: ours, ..
            } => {
                if matches!(reply, Reply::Registry(Outcome::Committed(_))) {
                    let rules = before.registry.list().fence.unwrap_or(fence(Term(0)));
                    self.judge_write(&before.registry, batch, ours, rules.term);
                }
            }
            Command::TermStarted { .. } if term < before.term => {
                self.fail(format!("term {term} began after term {}", before.term));
            }
            _ => {}
        }
    }

    /// Which documents are empty, and which names gone, because somebody wished it.
    fn remember_routes(&mut self, before: &State, state: &State) {
        for (name, app) in &state.apps {
            let had = before.apps.get(name).map(|a| a.routes.index);
            if had == Some(app.routes.index) || app.routes.index == DocIndex(0) {
                continue;
            }
            let wanted = app.live_spec().map_or(0, |s| s.replicas);
            if app.routes.serving.is_empty() && (wanted == 0 || app.resting.is_some()) {
                self.oracle.empty.insert(app.routes.index);
            }
            let gone = documents(state, app);
            let gone = gone.into_iter().filter(|(_, doc)| doc.is_none());
            self.oracle.removed.extend(gone.map(|(name, _)| name));
        }
    }

    /// What is over stays over.
    fn judge_ends(&mut self, state: &State) {
        for (id, phase) in &self.oracle.ended {
            let now = state.deployments.get(id).map(|d| d.phase);
            if now.is_some_and(|now| now != *phase) {
                return self.fail(format!("deployment {id} came back"));
            }
        }
        let over = state.deployments.values().filter(|d| d.phase.is_over());
        self.oracle.ended.extend(over.map(|d| (d.id, d.phase)));
    }

    /// A request ended badly. Where nothing happens that a client may notice, none does.
    pub(crate) fn judge_failed(&mut self, request: &Request, why: &str) {
        self.oracle.failed += 1;
        let view = request.phase.as_ref();
        let nobody = view.is_some_and(|v| v.entries().is_empty());
        self.say(|w| {
            format!(
                "{} request for {} failed: {why}",
                w.hosts[request.node].id(),
                request.name
            )
        });
        let late = self
            .oracle
            .strict
            .is_some_and(|since| request.began >= since);
        let strict = self.settings.calm || late;
        if strict && !nobody && !self.is_orphan(&request.name) {
            self.fail(format!(
                "a request for {} at {} failed: {why}",
                request.name,
                self.hosts[request.node].id()
            ));
        }
    }
}
