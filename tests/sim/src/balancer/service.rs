//! One service of a balancer: its cutover, its view, and what is left of former views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_balancer_core::cutover::Cutover;
use hancock_balancer_core::drain::{Formers, Leaving};
use hancock_balancer_core::peer::Verdict;
use hancock_balancer_core::table::{Peers, View};
use hancock_balancer_core::upstream::{PeerKey, Upstream};
use hancock_proto::ids::{DocIndex, InstanceId};
use hancock_proto::report::{Draining, ServiceReport};

use super::local::Local;

/// See the module.
pub(super) struct Service {
    pub(super) cutover: Cutover,
    pub(super) view: Arc<View>,
    pub(super) peers: Peers,
    formers: Formers<View>,
    leaving: Leaving,
    draining: BTreeMap<InstanceId, Draining>,
    pub(super) confirmed: DocIndex,
    /// Number of the write that will confirm, and its index.
    pub(super) writing: Option<(u64, DocIndex)>,
    pub(super) accepting: BTreeSet<(InstanceId, DocIndex)>,
    pub(super) deleted: bool,
}

impl Service {
    pub(super) fn new(cutover: Cutover) -> Self {
        Self {
            cutover,
            view: Arc::new(View::empty()),
            peers: Peers::default(),
            formers: Formers::default(),
            leaving: Leaving::default(),
            draining: BTreeMap::new(),
            confirmed: DocIndex(0),
            writing: None,
            accepting: BTreeSet::new(),
            deleted: false,
        }
    }

    /// Whether anybody can be picked.
    pub(super) fn routes(&self) -> bool {
        !self.view.entries().is_empty()
    }

    /// Routes by `upstream` from now on; peers that are no longer in it begin to leave.
    pub(super) fn install(&mut self, upstream: &Upstream, locals: &BTreeMap<InstanceId, Local>) {
        let view = View::new(upstream, &mut self.peers);
        self.judge(&view, upstream, locals);
        self.swap(view);
        for spec in upstream.retiring() {
            let served = upstream.peers().any(|p| p.key == spec.key);
            if let Some(peer) = self.peers.get(&spec.key).filter(|_| !served) {
                self.leaving.add(peer, None);
            }
        }
    }

    pub(super) fn uninstall(&mut self) {
        self.swap(View::empty());
    }

    fn swap(&mut self, next: View) {
        let entries = next.entries().iter();
        let served: BTreeSet<PeerKey> = entries.map(|e| e.peer.key().clone()).collect();
        for instance in served.iter().filter_map(|k| k.instance.as_ref()) {
            self.leaving.returned(instance);
        }
        let former = std::mem::replace(&mut self.view, Arc::new(next));
        for entry in former.entries() {
            if !served.contains(entry.peer.key()) {
                self.leaving.add(&entry.peer, None);
            }
        }
        self.formers.retire(former);
    }

    fn judge(&self, view: &View, upstream: &Upstream, locals: &BTreeMap<InstanceId, Local>) {
        if upstream.handover.is_none() {
            return;
        }
        for entry in view.entries() {
            let Some(instance) = entry.peer.instance() else {
                continue;
            };
            let local = locals.get(instance);
            let bad = self.cutover.is_unpassed(instance) || local.is_some_and(Local::is_bad);
            let verdict = if bad { Verdict::Err } else { Verdict::Ok };
            entry.peer.set_verdict(verdict);
        }
    }

    pub(super) fn set_verdict(&self, instance: &InstanceId, verdict: Verdict) {
        let peers = self.peers.iter();
        peers
            .filter(|p| p.instance() == Some(instance))
            .for_each(|p| p.set_verdict(verdict));
    }

    /// Looks at what is open on leaving peers.
    pub(super) fn settle(&mut self) {
        let older_phase = self.formers.settle();
        let formers = &self.formers;
        self.draining = self
            .leaving
            .report(|peer| formers.any(|former| former.lists(peer)));
        if !older_phase && self.leaving.is_empty() {
            self.peers.prune();
        }
    }

    /// Whether nothing of a former view is open any more.
    pub(super) fn is_settled(&mut self) -> bool {
        !self.formers.settle() && self.leaving.is_empty()
    }

    pub(super) fn report(&mut self) -> Option<ServiceReport> {
        let refused = self.cutover.refused().cloned();
        let newest = self.cutover.waiting().or(self.cutover.serving());
        let owned = newest.is_some_and(|up| up.handover.is_some());
        // A deleted one is known as long as it is on disk.
        let forgotten = self.deleted && self.writing.is_none();
        let known = owned || (!forgotten && self.confirmed > DocIndex(0));
        if !known && refused.is_none() && self.draining.is_empty() {
            return None;
        }
        self.settle();
        Some(ServiceReport {
            seen: self.cutover.seen().max(self.confirmed),
            confirmed: self.confirmed,
            refused,
            draining: self.draining.clone(),
        })
    }
}
