//! What the leader of this term has seen: volatile, filled by the hub, lost with the term.
//!
//! A confirmation counts only when it was reported in this term by the boot that is registered; nothing seen means not confirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hancock_proto::hub::Hello;
use hancock_proto::ids::{BootId, DocIndex, Generation, InstanceId, NodeId, Revision, Term};
use hancock_proto::report::{
    Draining, Follows, InstanceReport, Life, Refusal, Report, ServiceReport,
};
use hancock_proto::resources::Offer;
use hancock_proto::service::ServiceName;
use hancock_proto::time::Timestamp;

mod outside;

pub use outside::Outside;
pub(crate) use outside::{Seen as SeenReader, Stand};

use crate::command::Command;
use crate::format::Format;
use crate::state::{Stage, State};

/// A node that was silent for longer is `unknown`. A little less than the ten seconds after which that shall show: words of thousands of
/// nodes may be on their way when one of them falls silent, and who looks takes a moment too.
pub const LEASE: Duration = Duration::from_secs(9);
/// A node that was silent for longer is `lost`: its instances are replaced.
pub const LOST_AFTER: Duration = Duration::from_secs(60);

/// Leases, offers, confirmations and counts of one term.
#[derive(Debug, Clone)]
pub struct LeaderView {
    term: Term,
    since: Timestamp,
    nodes: BTreeMap<NodeId, Seen>,
    outside: Outside,
    masters: BTreeMap<String, Format>,
}

/// What was seen of one node.
#[derive(Debug, Clone)]
struct Seen {
    boot: BootId,
    heard: Timestamp,
    connected: bool,
    offer: Option<Offer>,
    /// Sequence of the last report.
    sequence: Option<u64>,
    generation: Generation,
    services: BTreeMap<ServiceName, ServiceReport>,
    /// Revision of the registry that the last report is the outcome of.
    registry: Option<Revision>,
    follows: Option<Follows>,
    /// When each service's confirmation rose, oldest first, bounded.
    rises: BTreeMap<ServiceName, Vec<(DocIndex, Timestamp)>>,
}

/// Rises of one service's confirmation remembered. Without the oldest ones, drains only last longer.
const MAX_RISES: usize = 16;

impl Seen {
    fn take_services(&mut self, report: &Report, now: Timestamp) {
        self.services.clone_from(&report.services);
        self.registry = report.registry;
        self.follows = report.follows;
        self.rises
            .retain(|name, _| report.services.contains_key(name));
        for (name, service) in &report.services {
            let rises = self.rises.entry(name.clone()).or_default();
            // Lower: the service was deleted and came back.
            rises.retain(|(index, _)| *index <= service.confirmed);
            if rises.last().is_none_or(|(i, _)| *i < service.confirmed) {
                rises.push((service.confirmed, now));
            }
            if rises.len() > MAX_RISES {
                rises.remove(0);
            }
        }
    }
}

impl LeaderView {
    /// A term begins: nothing is known.
    pub fn new(term: Term, now: Timestamp) -> Self {
        Self {
            term,
            since: now,
            nodes: BTreeMap::new(),
            outside: Outside::default(),
            masters: BTreeMap::new(),
        }
    }

    /// The term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// When the term began. Nothing advances by deadline before it is one lease old.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// The newest format each master knows, by name; empty: not told yet.
    pub fn masters(&self) -> &BTreeMap<String, Format> {
        &self.masters
    }

    /// The masters there are now, and the newest format each knows.
    pub fn masters_know(&mut self, masters: BTreeMap<String, Format>) {
        self.masters = masters;
    }

    /// Registries outside and their readers.
    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// The same, to be told what was seen.
    pub fn outside_mut(&mut self) -> &mut Outside {
        &mut self.outside
    }

    /// A daemon opened a session. A new boot voids everything the one before confirmed.
    pub fn hello(&mut self, hello: &Hello, now: Timestamp) {
        let seen = Seen {
            boot: hello.boot.clone(),
            heard: now,
            connected: true,
            offer: None,
            sequence: None,
            generation: hello.generation,
            services: BTreeMap::new(),
            registry: None,
            follows: None,
            rises: BTreeMap::new(),
        };
        let node = hello.info.node.clone();
        match self.nodes.get_mut(&node) {
            Some(known) if known.boot == hello.boot => {
                known.heard = now.max(known.heard);
                known.connected = true;
            }
            _ => drop(self.nodes.insert(node, seen)),
        }
    }

    /// A heartbeat with what the node has free.
    pub fn offer(&mut self, node: &NodeId, offer: Offer, now: Timestamp) {
        if let Some(seen) = self.nodes.get_mut(node) {
            seen.heard = now.max(seen.heard);
            seen.offer = Some(offer);
        }
    }

    /// The session ended. What it confirmed stays true; its lease runs on.
    pub fn disconnected(&mut self, node: &NodeId, _now: Timestamp) {
        if let Some(seen) = self.nodes.get_mut(node) {
            seen.connected = false;
        }
    }

    /// Takes a whole report; returns the command to propose when replicated facts changed.
    /// Reports of another boot than the session's, and older ones than the last, change nothing.
    pub fn report(&mut self, state: &State, report: &Report, now: Timestamp) -> Option<Command> {
        let seen = self.nodes.get_mut(&report.node)?;
        if seen.boot != report.boot {
            return None;
        }
        seen.heard = now.max(seen.heard);
        let applied = state
            .nodes
            .get(&report.node)
            .filter(|n| n.boot == report.boot);
        let applied = applied.map(|n| n.sequence);
        if seen
            .sequence
            .max(applied)
            .is_some_and(|last| report.sequence < last)
        {
            return None;
        }
        seen.sequence = Some(report.sequence);
        seen.generation = report.generation;
        seen.take_services(report, now);
        changed_facts(state, report, now)
    }

    /// Time of the last message, or the start of the term: silence from before it is not known.
    pub fn last_contact(&self, node: &NodeId) -> Timestamp {
        self.nodes
            .get(node)
            .map_or(self.since, |seen| seen.heard.max(self.since))
    }

    /// Time of the last message in this term.
    pub fn heard(&self, node: &NodeId) -> Option<Timestamp> {
        self.nodes.get(node).map(|seen| seen.heard)
    }

    /// Whether the node's lease holds. One never heard in this term is not alive.
    pub fn is_alive(&self, node: &NodeId, now: Timestamp) -> bool {
        self.heard(node)
            .is_some_and(|heard| now.since(heard) < LEASE)
    }

    /// Whether the node has an open session.
    pub fn is_connected(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(|seen| seen.connected)
    }

    /// Newest offer.
    pub fn offer_of(&self, node: &NodeId) -> Option<&Offer> {
        self.nodes.get(node).and_then(|seen| seen.offer.as_ref())
    }

    /// Generation the node acts upon, as far as it said in this term.
    pub fn generation(&self, node: &NodeId) -> Generation {
        self.nodes
            .get(node)
            .map(|seen| seen.generation)
            .unwrap_or_default()
    }

    /// What the node's balancer said of one service in its last report; None: no report in this term. Inner None: it has no such service.
    pub(crate) fn service(
        &self,
        node: &NodeId,
        name: &ServiceName,
    ) -> Option<Option<&ServiceReport>> {
        let seen = self.nodes.get(node).filter(|s| s.sequence.is_some())?;
        Some(seen.services.get(name))
    }

    /// The lowest index `boot` of the node confirmed over `names`; None: it has not confirmed all of them at all.
    pub(crate) fn confirmed<'a>(
        &self,
        node: &NodeId,
        boot: &BootId,
        names: impl IntoIterator<Item = &'a ServiceName>,
    ) -> Option<DocIndex> {
        let seen = self.nodes.get(node).filter(|seen| seen.boot == *boot)?;
        let mut lowest = DocIndex(u64::MAX);
        for name in names {
            lowest = lowest.min(seen.services.get(name)?.confirmed);
        }
        Some(lowest)
    }

    /// Whether `boot` of the node has heard the registry up to `revision` and knows none of `names`.
    pub(crate) fn lacks<'a>(
        &self,
        node: &NodeId,
        boot: &BootId,
        mut names: impl Iterator<Item = &'a ServiceName>,
        revision: Revision,
    ) -> bool {
        let seen = self.nodes.get(node).filter(|seen| seen.boot == *boot);
        let up_to_date = seen.filter(|seen| seen.registry.is_some_and(|at| at >= revision));
        up_to_date.is_some_and(|seen| names.all(|name| !seen.services.contains_key(name)))
    }

    /// Whether `boot` of the node follows a choice of registry, up to `revision`.
    pub(crate) fn follows(
        &self,
        node: &NodeId,
        boot: &BootId,
        choice: u64,
        revision: Revision,
    ) -> bool {
        let seen = self.nodes.get(node).filter(|seen| seen.boot == *boot);
        let follows = seen.and_then(|seen| seen.follows);
        follows.is_some_and(|f| f.choice == choice && f.revision >= revision)
    }

    /// Since when the node is known to have confirmed `index` over `names`; None: it has not.
    pub(crate) fn confirmed_since<'a>(
        &self,
        node: &NodeId,
        names: impl IntoIterator<Item = &'a ServiceName>,
        index: DocIndex,
    ) -> Option<Timestamp> {
        let seen = self.nodes.get(node)?;
        let mut since = self.since;
        for name in names {
            let mut rises = seen.rises.get(name)?.iter();
            since = since.max(rises.find(|(i, _)| *i >= index)?.1);
        }
        Some(since)
    }

    /// A refusal of `index` or newer by the node, if it stands.
    pub(crate) fn refusal<'a>(
        &self,
        node: &NodeId,
        names: impl IntoIterator<Item = &'a ServiceName>,
        index: DocIndex,
    ) -> Option<&Refusal> {
        let seen = self.nodes.get(node)?;
        names.into_iter().find_map(|name| {
            let service = seen.services.get(name)?;
            let refused = service.refused.as_ref()?;
            (refused.index >= index && service.confirmed < index).then_some(refused)
        })
    }

    /// Whether anything is open on one of these peers, as far as the node told.
    pub(crate) fn has_open(&self, node: &NodeId, peers: &BTreeSet<InstanceId>) -> bool {
        let services = self.nodes.get(node).into_iter();
        let mut services = services.flat_map(|seen| seen.services.values());
        services.any(|s| s.draining.keys().any(|peer| peers.contains(peer)))
    }

    /// What is still open on a peer, over every service the node knows: requests may have come by a host the app no longer has.
    pub(crate) fn open(&self, node: &NodeId, peer: &InstanceId) -> Draining {
        let services = self.nodes.get(node).into_iter();
        let services = services.flat_map(|seen| seen.services.values());
        sum(services.filter_map(|s| s.draining.get(peer)))
    }
}

/// What is open together.
pub(crate) fn sum<'a>(all: impl Iterator<Item = &'a Draining>) -> Draining {
    let mut sum = Draining::default();
    for open in all {
        sum.requests = sum.requests.saturating_add(open.requests);
        sum.sessions = sum.sessions.saturating_add(open.sessions);
        sum.older_phase |= open.older_phase;
    }
    sum
}

/// The command that brings the state's facts up to the report, if they differ.
fn changed_facts(state: &State, report: &Report, now: Timestamp) -> Option<Command> {
    let node = state.nodes.get(&report.node)?;
    let mut changed = BTreeMap::new();
    for id in node.assigned.keys() {
        let Some(known) = state.instances.get(id) else {
            continue;
        };
        let facts = match report.instances.get(id) {
            Some(facts) => facts.clone(),
            // Told to stop, acted upon, not there any more: it has stopped.
            None if known.stage == Stage::Ending && report.generation >= node.generation => {
                vanished(&known.facts, now)
            }
            // Absence is not removal.
            None => continue,
        };
        if facts != known.facts && !known.is_over() {
            changed.insert(id.clone(), facts);
        }
    }
    (!changed.is_empty()).then(|| Command::Report {
        node: report.node.clone(),
        boot: report.boot.clone(),
        sequence: report.sequence,
        instances: changed,
        at: now,
    })
}

fn vanished(known: &InstanceReport, now: Timestamp) -> InstanceReport {
    InstanceReport {
        life: Life::Stopped,
        since: now,
        reason: Some("its node does not know it any more".to_owned()),
        ready: None,
        ailing: false,
        ..known.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        serde_json::from_value(serde_json::json!({
            "info": {"node": "n1", "hostname": "n1", "address": "10.0.0.1", "capacity": {"cpu": 1.0, "memory": "1GiB", "disk": "0B"},
                "ports": {"first": 1, "last": 2}, "runtime": "process", "arch": "x86_64", "version": "0"},
            "boot": "b1", "generation": 0,
        }))
        .unwrap()
    }

    /// A version that drops a host does not end the sessions that came by it.
    #[test]
    fn what_came_by_a_dropped_host_counts_as_open() {
        let report = serde_json::from_value(serde_json::json!({
            "node": "n1", "boot": "b1", "sequence": 1, "generation": 0, "instances": {},
            "services": {
                "web.test": {"seen": 9, "confirmed": 9},
                "www.web.test": {"seen": 9, "confirmed": 5, "draining": {"web-1": {"requests": 1, "sessions": 2, "older_phase": true}}},
            },
        }));
        let mut view = LeaderView::new(Term(1), Timestamp(0));
        view.hello(&hello(), Timestamp(0));
        view.report(&State::new(), &report.unwrap(), Timestamp(1));
        let open = view.open(&"n1".parse().unwrap(), &"web-1".parse().unwrap());
        assert_eq!(
            (open.requests, open.sessions, open.older_phase),
            (1, 2, true)
        );
    }
}
