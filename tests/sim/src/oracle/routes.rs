//! Nothing is confirmed that would not survive, nothing becomes empty unasked, no former leader writes.

use hancock_proto::ids::{DocIndex, Term};
use hancock_proto::registry::{Batch, Fence, Store};
use hancock_proto::report::Report;

use crate::world::World;

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
    pub(crate) fn judge_emptied(&mut self, node: usize, name: &str, index: Option<DocIndex>) {
        self.oracle.count("emptied");
        let wished = match index {
            Some(index) => self.oracle.empty.contains(&index),
            None => self.oracle.removed.contains(name),
        };
        if !wished {
            let node = self.hosts[node].id().clone();
            self.fail(format!(
                "{name} routes to nobody on {node}, which nobody wished"
            ));
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
            let had = before.entry(name).map(|e| e.doc.clone());
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
