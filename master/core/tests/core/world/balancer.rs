//! A model balancer: takes documents, makes before it breaks, confirms or refuses, counts what is open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::{DocIndex, InstanceId, Revision};
use hancock_proto::registry::Listing;
use hancock_proto::report::{Draining, Refusal, ServiceReport};
use hancock_proto::service::ServiceName;
use hancock_proto::time::Timestamp;
use hancock_proto::upstream::UpstreamDoc;

/// One node's balancer.
#[derive(Default)]
pub struct Balancer {
    services: BTreeMap<ServiceName, Service>,
    /// Takes documents and never confirms.
    pub mute: bool,
    /// Cannot reach peers that are added.
    pub blind: bool,
    /// Where the registry was when it was last received.
    pub revision: Option<Revision>,
    /// Open on a peer, set by tests.
    pub open: BTreeMap<InstanceId, Draining>,
}

/// One service.
struct Service {
    seen: Arc<UpstreamDoc>,
    seen_at: Timestamp,
    /// What it serves by; None: nothing yet.
    serving: Option<Arc<UpstreamDoc>>,
    refused: Option<Refusal>,
}

impl Balancer {
    /// The registry as of now.
    pub fn receive(&mut self, listing: &Listing, now: Timestamp) {
        self.revision = Some(listing.revision);
        self.services
            .retain(|name, _| listing.entries.contains_key(name));
        for (name, entry) in &listing.entries {
            let known = self
                .services
                .entry(name.clone())
                .or_insert_with(|| Service {
                    seen: entry.doc.clone(),
                    seen_at: now,
                    serving: None,
                    refused: None,
                });
            if known.seen.index() < entry.doc.index() {
                known.seen = entry.doc.clone();
                known.seen_at = now;
                known.refused = None;
            }
        }
    }

    /// Probes added peers; switches, waits or refuses.
    pub fn act(&mut self, alive: &BTreeMap<InstanceId, bool>, now: Timestamp) {
        let (mute, blind) = (self.mute, self.blind);
        for service in self.services.values_mut().filter(|_| !mute) {
            service.act(alive, blind, now);
        }
    }

    /// Peers a new request may go to.
    pub fn selectable(&self) -> BTreeSet<InstanceId> {
        let serving = self.services.values().filter_map(|s| s.serving.as_ref());
        serving
            .flat_map(|doc| doc.servers().filter_map(|s| s.instance.clone()))
            .collect()
    }

    /// Services it carries, with the index each is served at.
    pub fn carries(&self) -> impl Iterator<Item = (&ServiceName, DocIndex)> {
        self.services.iter().map(|(name, s)| (name, s.confirmed()))
    }

    /// It keeps what it had, and said so.
    pub fn has_refused(&self) -> bool {
        self.services.values().any(|s| s.refused.is_some())
    }

    pub fn report(&self) -> BTreeMap<ServiceName, ServiceReport> {
        let each = self.services.iter();
        each.map(|(name, s)| (name.clone(), s.report(&self.open)))
            .collect()
    }
}

impl Service {
    fn confirmed(&self) -> DocIndex {
        self.serving.as_ref().map(|d| d.index()).unwrap_or_default()
    }

    fn act(&mut self, alive: &BTreeMap<InstanceId, bool>, blind: bool, now: Timestamp) {
        if self.confirmed() == self.seen.index() {
            return;
        }
        let Some(member) = self.seen.hancock.clone() else {
            return;
        };
        let has = |id: &InstanceId| {
            let doc = self.serving.as_ref();
            doc.is_some_and(|d| d.servers().any(|s| s.instance.as_ref() == Some(id)))
        };
        let passes =
            |id: &&InstanceId| has(id) || (!blind && alive.get(*id).copied().unwrap_or_default());
        let Some(failing) = member.added.iter().find(|id| !passes(id)) else {
            self.serving = Some(self.seen.clone());
            self.refused = None;
            return;
        };
        if now.since(self.seen_at) >= Duration::from_millis(member.accept_timeout_ms) {
            self.refused = Some(Refusal {
                index: member.index,
                peer: failing.clone(),
                reason: "connect: no route to host".to_owned(),
            });
        }
    }

    fn report(&self, open: &BTreeMap<InstanceId, Draining>) -> ServiceReport {
        let served = |id: &InstanceId| {
            let doc = self.serving.as_ref();
            doc.is_some_and(|d| d.servers().any(|s| s.instance.as_ref() == Some(id)))
        };
        let left = open.iter().filter(|(id, _)| !served(id));
        let draining =
            left.filter_map(|(id, open)| (!open.is_drained()).then_some((id.clone(), *open)));
        ServiceReport {
            seen: self.seen.index(),
            confirmed: self.confirmed(),
            refused: self.refused.clone(),
            draining: draining.collect(),
        }
    }
}
