//! Nothing is confirmed that would not survive, nothing becomes empty unasked, no former leader writes.

use hancock_balancer_core::table::View;
use hancock_master_core::state::State;
use hancock_proto::ids::{DocIndex, Term};
use hancock_proto::registry::{Batch, Fence, Store};
use hancock_proto::report::Report;
use hancock_proto::service::ServiceName;

use crate::world::World;

/// What is judged ready may have ended so short a time ago.
const RECENT: u64 = 5000;

impl World {
    /// An agent reports: what its balancer confirms must be on its disk.
    pub(crate) fn judge_report(&mut self, node: usize, report: &Report) {
        self.oracle.count("reports");
        for (name, service) in &report.services {
            let stored = self.hosts[node].disk.documents.get(name);
            let gone = stored.is_none() && self.oracle.removed.contains(name);
            let have = stored.map_or(DocIndex(0), |d| d.index());
            if have < service.confirmed && !gone {
                let (node, index) = (&report.node, service.confirmed);
                return self.fail(format!(
                    "{node} confirms {name} at {index}, on its disk is {have}"
                ));
            }
        }
    }

    /// A service that could be picked from routes to nobody now.
    pub(crate) fn judge_emptied(
        &mut self,
        node: usize,
        name: &ServiceName,
        index: Option<DocIndex>,
    ) {
        self.oracle.count("emptied");
        let wished = match index {
            Some(index) => self.oracle.empty.contains(&index),
            None => {
                let meddled = self.oracle.meddled.contains_key(name);
                meddled || self.oracle.removed.contains(name) || !self.is_carried(node, name)
            }
        };
        if !wished {
            let node = self.hosts[node].id().clone();
            self.fail(format!(
                "{name} routes to nobody on {node}, which nobody wished"
            ));
        }
    }

    /// Whether a service is for the balancer of a node.
    pub(crate) fn is_carried(&self, node: usize, name: &ServiceName) -> bool {
        let state = self.cluster.state();
        let zones = state.zones_of_node(self.hosts[node].id());
        let entry = state.registry.entry(name.as_str());
        entry.is_none_or(|entry| entry.doc.is_for(&zones))
    }

    /// A balancer switched to a document with new peers: it must reach one of the new set, if it reached one of the old.
    pub(crate) fn judge_switch(
        &mut self,
        node: usize,
        name: &ServiceName,
        before: &View,
        after: &View,
    ) {
        self.oracle.count("switches");
        let recent = |at: u64| at > 0 && at + RECENT > self.now;
        let serves = |view: &View| {
            let mut entries = view.entries().iter();
            entries.any(|e| self.serves(node, e.peer.key()))
        };
        let died = after.entries().iter().any(|e| {
            let crash = e.peer.instance().and_then(|i| self.oracle.crashes.get(i));
            crash.is_some_and(|at| recent(*at))
        });
        if recent(self.oracle.rerouted) || died || !serves(before) || serves(after) {
            return;
        }
        let (node, index) = (self.hosts[node].id().clone(), after.index());
        self.fail(format!(
            "{node} switched {name} to {index}, of which it reaches nobody"
        ));
    }

    /// Nobody is taken out of the documents who may be alive: he retires first.
    pub(super) fn judge_dropped(&mut self, before: &State, state: &State) {
        for (name, app) in &state.apps {
            let Some(had) = before.apps.get(name) else {
                continue;
            };
            let retiring = app.routes.retiring();
            let lost = had.routes.serving.iter().find(|id| {
                let known = before.instances.get(*id);
                let stays = app.routes.serving.contains(*id) || retiring.contains(id);
                !stays && known.is_some_and(|i| !i.is_over())
            });
            if let Some(id) = lost {
                return self.fail(format!(
                    "{name} no longer routes to {id}, which may be alive"
                ));
            }
        }
    }

    /// The registry took a write.
    pub(crate) fn judge_write(
        &mut self,
        before: &Store,
        batch: &Batch,
        ours: &Fence,
        highest: Term,
    ) {
        self.oracle.count("writes");
        // A store that lost its fence knows nobody better.
        let fenced = before.list().fence.is_some();
        if fenced && ours.term < highest {
            return self.fail(format!(
                "the registry took a write of term {}, its fence is {highest}",
                ours.term
            ));
        }
        for (name, doc) in &batch.changes {
            let had = before.entry(name.as_str()).map(|e| e.doc.clone());
            let (Some(had), Some(doc)) = (had, doc) else {
                continue;
            };
            let same = had.hancock.as_ref().map(|m| &m.app) == Some(&batch.app);
            if same && had.index() > doc.index() {
                let (from, to) = (had.index(), doc.index());
                return self.fail(format!("{name} goes back from {from} to {to}"));
            }
        }
    }
}
