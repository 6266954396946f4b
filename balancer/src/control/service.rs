//! What control keeps of one service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::http::HeaderValue;

use hancock_balancer_core::cutover::Cutover;
use hancock_balancer_core::drain::{Formers, Leaving};
use hancock_balancer_core::health::PeerHealth;
use hancock_balancer_core::peer::Verdict;
use hancock_balancer_core::settings::Route;
use hancock_balancer_core::table::{Peers, View};
use hancock_balancer_core::upstream::{PeerKey, Upstream};
use hancock_proto::ids::{DocIndex, InstanceId};
use hancock_proto::report::Draining;
use hancock_proto::time::Timestamp;

use super::local::Local;
use super::now;
use crate::http::Dial;
use crate::live::{LiveView, Service, Table};
use crate::probe::RedisFacts;
use crate::probe::tasks::Task;

/// Verdicts kept of peers that are listed no longer.
const REMEMBERED: usize = 64;

/// See the module.
pub(super) struct ServiceState {
    pub(super) service: Arc<Service>,
    /// Where it is reached, when not under its name.
    route: Option<Route>,
    pub(super) cutover: Cutover,
    pub(super) peers: Peers,
    dials: BTreeMap<PeerKey, Arc<Dial>>,
    formers: Formers<LiveView>,
    leaving: Leaving,
    /// Time of sessions on peers that leave, by the last document. None: no end is set.
    session_time: Option<Duration>,
    /// What is not drained, as last looked at.
    pub(super) draining: BTreeMap<InstanceId, Draining>,
    /// Others are draining than when a change was last told, even if only for a moment: somebody may have looked.
    untold: bool,
    /// Verdicts of rounds; kept over changes of the list.
    pub(super) health: BTreeMap<PeerKey, PeerHealth>,
    /// What redis servers said of themselves.
    pub(super) redis: BTreeMap<PeerKey, Option<RedisFacts>>,
    pub(super) confirmed: DocIndex,
    /// Number of the write that will confirm, and its index.
    pub(super) writing: Option<(u64, DocIndex)>,
    /// Rounds of active checks, with their generation.
    pub(super) rounds: Option<(u64, Task)>,
    pub(super) resolving: Option<Task>,
    /// Probes of added peers, by instance and index of the document.
    pub(super) accepting: BTreeMap<(InstanceId, DocIndex), Task>,
    /// Deleted; goes as soon as nothing is open any more.
    pub(super) deleted: bool,
}

impl ServiceState {
    pub(super) fn new(name: &str) -> Self {
        Self {
            service: Arc::new(Service::new(name)),
            route: None,
            cutover: Cutover::default(),
            peers: Peers::default(),
            dials: BTreeMap::new(),
            formers: Formers::default(),
            leaving: Leaving::default(),
            session_time: None,
            draining: BTreeMap::new(),
            untold: false,
            health: BTreeMap::new(),
            redis: BTreeMap::new(),
            confirmed: DocIndex(0),
            writing: None,
            rounds: None,
            resolving: None,
            accepting: BTreeMap::new(),
            deleted: false,
        }
    }

    /// Routes by `upstream` from now on; peers that are no longer in it begin to leave.
    pub(super) fn install(&mut self, upstream: &Upstream, locals: &BTreeMap<InstanceId, Local>) {
        let handover = upstream.handover.as_ref();
        self.session_time = handover.and_then(|h| h.session_drain_timeout);
        let view = View::new(upstream, &mut self.peers);
        self.judge(&view, upstream, locals);
        let keys = view.entries().iter().map(|e| e.peer.key().clone());
        let dials = keys.map(|key| self.dial(key)).collect();
        let route = upstream.settings.route.as_ref();
        let host = route.map_or(&*upstream.name, |r| &r.host);
        let host = HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("-"));
        self.swap(LiveView { view, dials, host });
        for spec in upstream.retiring() {
            if let Some(peer) = self
                .peers
                .get(&spec.key)
                .filter(|_| !upstream.peers().any(|p| p.key == spec.key))
            {
                self.leaving.add(peer, until(self.session_time));
            }
        }
    }

    /// Is reached under `route` from now on; None: under its name.
    pub(super) fn reroute(&mut self, table: &Table, route: Option<&Route>, owned: bool) {
        let from = self.route.take();
        if from.as_ref() != route {
            table.reroute(&self.service, from.as_ref(), route, owned);
        }
        self.route = route.cloned();
    }

    /// Routes nothing from now on.
    pub(super) fn uninstall(&mut self) {
        self.swap(LiveView::empty());
    }

    fn swap(&mut self, next: LiveView) {
        let served: BTreeSet<PeerKey> = next
            .view
            .entries()
            .iter()
            .map(|e| e.peer.key().clone())
            .collect();
        for instance in served.iter().filter_map(|k| k.instance.as_ref()) {
            self.leaving.returned(instance);
        }
        let former = self.service.swap(next);
        let gone = former
            .view
            .entries()
            .iter()
            .filter(|e| !served.contains(e.peer.key()));
        let until = until(self.session_time);
        gone.for_each(|e| self.leaving.add(&e.peer, until));
        self.formers.retire(former);
    }

    /// Verdicts of a master's peers: not before they passed, not while their own node's probe says no.
    fn judge(&self, view: &View, upstream: &Upstream, locals: &BTreeMap<InstanceId, Local>) {
        if upstream.has_rounds() {
            return self.recall(view);
        }
        for entry in view.entries() {
            let Some(instance) = entry.peer.instance() else {
                continue;
            };
            let bad = self.cutover.is_unpassed(instance)
                || locals.get(instance).is_some_and(Local::is_bad);
            entry
                .peer
                .set_verdict(if bad { Verdict::Err } else { Verdict::Ok });
        }
    }

    /// Verdicts of rounds belong to an address, not to a list: a peer that is back starts with its own.
    fn recall(&self, view: &View) {
        for entry in view.entries() {
            let known = self.health.get(entry.peer.key());
            entry
                .peer
                .set_verdict(known.map_or(Verdict::Ok, |h| h.verdict));
        }
    }

    fn dial(&mut self, key: PeerKey) -> Arc<Dial> {
        // One whose sessions were ended would end those of a peer that came back.
        let usable = self.dials.get(&key).filter(|dial| !dial.has_ended());
        let dial = usable.map_or_else(|| Arc::new(Dial::new(&key)), Arc::clone);
        self.dials.insert(key, dial.clone());
        dial
    }

    /// The dial of a peer, to be told its address.
    pub(super) fn dial_of(&self, key: &PeerKey) -> Option<&Arc<Dial>> {
        self.dials.get(key)
    }

    /// Looks at what is open on leaving peers.
    pub(super) fn settle(&mut self) {
        self.end_sessions();
        // Phases first: one that ends afterwards has counted its pick already.
        let older_phase = self.formers.settle();
        let formers = &self.formers;
        let draining = self
            .leaving
            .report(|peer| formers.any(|former| former.view.lists(peer)));
        self.untold |= !draining.keys().eq(self.draining.keys());
        self.draining = draining;
        if !older_phase && self.leaving.is_empty() {
            self.peers.prune();
            self.dials.retain(|_, dial| Arc::strong_count(dial) > 1);
        }
    }

    /// Sessions on peers that left have so much time, and no more.
    fn end_sessions(&mut self) {
        for peer in self.leaving.overdue(now()) {
            let (_, sessions) = peer.open();
            tracing::info!(service = %self.service.name, peer = %peer.key(), sessions, "closing the sessions on a peer that left");
            if let Some(dial) = self.dials.get(peer.key()) {
                dial.end_sessions();
            }
        }
    }

    /// Whoever they are on.
    pub(super) fn end_all_sessions(&self) {
        self.dials.values().for_each(|dial| dial.end_sessions());
    }

    /// Of the document served.
    pub(super) fn index(&self) -> DocIndex {
        self.cutover.serving().map_or(DocIndex(0), |up| up.index())
    }

    /// Whether there is a change of who is draining to be told; it counts as told then.
    pub(super) fn tell_draining(&mut self) -> bool {
        std::mem::take(&mut self.untold)
    }

    /// Whether anything of a former view is still open.
    pub(super) fn is_settled(&mut self) -> bool {
        !self.formers.settle() && self.leaving.is_empty()
    }

    /// Verdicts on peers that left long ago go when there are too many of them.
    pub(super) fn forget(&mut self, listed: &[&PeerKey]) {
        if self.health.len() > 2 * listed.len() + REMEMBERED {
            self.health.retain(|key, _| listed.contains(&key));
        }
        self.redis.retain(|key, _| self.health.contains_key(key));
    }

    pub(super) fn stop_probing(&mut self) {
        self.rounds = None;
        self.resolving = None;
        self.accepting.clear();
    }
}

fn until(time: Option<Duration>) -> Option<Timestamp> {
    time.map(|time| now() + time)
}
