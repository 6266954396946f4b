//! When a peer on its way out is drained: no request, no session, and nobody who could still pick it.
//!
//! A routing phase *is* holding a view: a request holds the `Arc` of its view from the load until no retry is possible. So a former view
//! that only we hold cannot be picked from any more, and no counter of phases can be forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_proto::ids::InstanceId;
use hancock_proto::report::Draining;
use hancock_proto::time::Timestamp;

use crate::peer::Peer;

/// Former views somebody may still route by.
#[derive(Debug)]
pub struct Formers<V>(Vec<Arc<V>>);

impl<V> Default for Formers<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Formers<V> {
    /// A view was swapped out.
    pub fn retire(&mut self, view: Arc<V>) {
        self.0.push(view);
        self.settle();
    }

    /// Forgets views nobody else holds. Answers whether one is left that somebody routes by.
    pub fn settle(&mut self) -> bool {
        // `get_mut` succeeds for the only holder alone, and orders us after whatever the last other holder did: its pick is counted.
        self.0.retain_mut(|view| Arc::get_mut(view).is_none());
        !self.0.is_empty()
    }

    /// Whether a view that was left by [`Formers::settle`] is one that `might_pick`.
    pub fn any(&self, might_pick: impl Fn(&V) -> bool) -> bool {
        self.0.iter().any(|view| might_pick(view))
    }
}

/// Peers on their way out, until drained.
#[derive(Debug, Default)]
pub struct Leaving(BTreeMap<InstanceId, Leaver>);

/// One of them.
#[derive(Debug)]
struct Leaver {
    peer: Arc<Peer>,
    /// Sessions on it end then. None: whenever they want, or they were told already.
    until: Option<Timestamp>,
}

impl Leaving {
    /// A peer left the served set; its sessions have time until then. One that is leaving already keeps its time. Peers without an
    /// instance are nobody's business.
    pub fn add(&mut self, peer: &Arc<Peer>, until: Option<Timestamp>) {
        let Some(instance) = peer.instance() else {
            return;
        };
        let known = self.0.get(instance);
        if known.is_none_or(|leaver| !Arc::ptr_eq(&leaver.peer, peer)) {
            let peer = peer.clone();
            self.0.insert(instance.clone(), Leaver { peer, until });
        }
    }

    /// Peers whose sessions had their time; each is told once.
    pub fn overdue(&mut self, now: Timestamp) -> Vec<Arc<Peer>> {
        let mut late = Vec::new();
        for leaver in self.0.values_mut() {
            if leaver.until.take_if(|until| *until <= now).is_some() {
                late.push(leaver.peer.clone());
            }
        }
        late
    }

    /// An instance is served again.
    pub fn returned(&mut self, instance: &InstanceId) {
        self.0.remove(instance);
    }

    /// What is still open, drained peers left out and forgotten. `older_phase` tells whether a former view might still pick a peer, as
    /// of *before* this call: a phase that ends in between has counted its pick.
    pub fn report(
        &mut self,
        older_phase: impl Fn(&Arc<Peer>) -> bool,
    ) -> BTreeMap<InstanceId, Draining> {
        let mut open = BTreeMap::new();
        for (instance, Leaver { peer, .. }) in &self.0 {
            let (requests, sessions) = peer.open();
            let draining = Draining {
                requests,
                sessions,
                older_phase: older_phase(peer),
            };
            if !draining.is_drained() {
                open.insert(instance.clone(), draining);
            }
        }
        self.0.retain(|instance, _| open.contains_key(instance));
        open
    }

    /// Whether nobody is on the way out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::RequestKey;
    use crate::peer::Ticket;
    use crate::pick::{Tried, pick};
    use crate::table::{Peers, View};
    use crate::upstream::Upstream;

    fn upstream(host: &str, instance: &str) -> Upstream {
        let json = format!(
            r#"{{"cluster":[{{"servers":[{{"host":"{host}","port":1,"instance":"{instance}"}}]}}],
            "hancock":{{"app":"web","index":1,"accept_timeout_ms":1}}}}"#
        );
        let doc = serde_json::from_str(&json).expect("a document");
        Upstream::new("web", Arc::new(doc)).expect("a valid one")
    }

    #[test]
    fn sessions_are_told_once_that_their_time_is_over() {
        let mut peers = Peers::default();
        let view = View::new(&upstream("10.0.0.1", "web-1"), &mut peers);
        let peer = view.entries()[0].peer.clone();
        let mut session = Ticket::new(peer.clone());
        session.upgrade();
        let mut leaving = Leaving::default();
        leaving.add(&peer, Some(Timestamp(10)));
        // Another document without it gives it no more time.
        leaving.add(&peer, Some(Timestamp(99)));
        assert!(leaving.overdue(Timestamp(9)).is_empty());
        assert_eq!(leaving.overdue(Timestamp(10)).len(), 1);
        assert!(leaving.overdue(Timestamp(11)).is_empty());
        assert_eq!(leaving.report(|_| false).len(), 1, "still open");
        // One that is served again has all the time there is.
        leaving.returned(&"web-1".parse().expect("an id"));
        assert!(leaving.overdue(Timestamp(99)).is_empty());
    }

    /// The hole of rule 2: the counter is zero while a request that loaded the old view has not picked yet.
    #[test]
    fn a_request_parked_between_load_and_pick_keeps_its_peer_undrained() {
        let mut peers = Peers::default();
        let old = Arc::new(View::new(&upstream("10.0.0.1", "web-1"), &mut peers));
        let parked = old.clone();

        let gone = old.entries()[0].peer.clone();
        let (mut formers, mut leaving) = (Formers::default(), Leaving::default());
        formers.retire(old);
        leaving.add(&gone, None);
        let name: InstanceId = "web-1".parse().expect("an id");

        formers.settle();
        let report = leaving.report(|peer| formers.any(|v: &View| v.lists(peer)));
        assert_eq!(gone.open(), (0, 0));
        assert!(
            report[&name].older_phase,
            "not drained: somebody may still pick it"
        );

        let key = RequestKey {
            target: b"/",
            client: None,
            header: None,
        };
        let at = pick(&parked, &key, &Tried::default(), Timestamp(1), 0).expect("the old peer");
        let ticket = Ticket::new(parked.entries()[at].peer.clone());
        drop(parked);
        assert!(!formers.settle());
        assert_eq!(leaving.report(|_| false)[&name].requests, 1);

        drop(ticket);
        assert!(leaving.report(|_| false).is_empty() && leaving.is_empty());
    }
}
