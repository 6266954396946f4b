//! Where instances go: which nodes fit, which of those is best, which ports are free. Every refusal has a reason.

mod filter;
mod homes;
mod ports;
mod writers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use hancock_proto::app::AppSpec;
use hancock_proto::assignment::PortBinding;
use hancock_proto::ids::{AppName, InstanceId, NodeId};
use hancock_proto::resources::{NodeInfo, Offer, Usage};
use hancock_proto::time::Timestamp;

use crate::apply::listens;
use crate::command::Placement;
use crate::leader::LeaderView;
use crate::state::{Instance, Node, NodeState, State};

pub(crate) use filter::Misfit;
use homes::Homes;
use writers::Writers;

/// How long a node is remembered for an app that came to nothing there.
const FAILED_FOR: Duration = Duration::from_secs(600);

/// All nodes with what is reserved on them, kept up while one plan is made.
#[derive(Clone)]
pub(crate) struct Board<'a> {
    slots: BTreeMap<&'a NodeId, Slot<'a>>,
}

/// One node.
#[derive(Clone)]
struct Slot<'a> {
    info: &'a NodeInfo,
    /// How many of its ports are passed over at first when one is chosen.
    skipped: u32,
    alive: bool,
    lost: bool,
    used: Usage,
    /// Taken host ports and by whom.
    taken: BTreeMap<u16, String>,
    /// Host ports given back: the time, and whether some balancer may still send there.
    released: BTreeMap<u16, (Timestamp, bool)>,
    total: u32,
    per_app: BTreeMap<AppName, u32>,
    /// Instances of each app that came to nothing here lately.
    failed: BTreeMap<AppName, u32>,
    offer: Option<&'a Offer>,
    writers: Writers,
}

/// What is to be placed.
#[derive(Clone, Copy)]
pub(crate) struct Demand<'a> {
    pub(crate) spec: &'a AppSpec,
    /// Instances of the set it belongs to: spread over nodes, and counted for `max_per_node`.
    pub(crate) peers: &'a BTreeSet<InstanceId>,
}

/// One chosen place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    pub(crate) placement: Placement,
    pub(crate) reason: String,
}

/// How nodes that fit compare: the order of the fields is the order of importance.
#[derive(PartialEq, PartialOrd)]
struct Score<'a> {
    /// Where an app came to nothing lately it is not tried again as long as there are other nodes.
    failed: u32,
    peers: u32,
    of_app: u32,
    total: u32,
    load: f64,
    node: &'a NodeId,
}

impl<'a> Board<'a> {
    /// The nodes as they are.
    pub(crate) fn new(state: &'a State, view: &'a LeaderView, now: Timestamp) -> Self {
        Self::without(state, view, now, None)
    }

    /// The nodes as they will be without the instances of an app.
    pub(crate) fn without(
        state: &'a State,
        view: &'a LeaderView,
        now: Timestamp,
        gone: Option<&AppName>,
    ) -> Self {
        let listens = listens(state).into_iter();
        let listens = listens.map(|(port, app)| (port, format!("the TCP service of {app}")));
        let listens: BTreeMap<_, _> = listens.collect();
        let empty = |node| Slot {
            taken: listens.clone(),
            ..slot(state, view, now, node)
        };
        let nodes = state.nodes.iter();
        let mut slots: BTreeMap<_, _> = nodes.map(|(id, node)| (id, empty(node))).collect();
        let staying = state.instances.values();
        for instance in staying.filter(|i| gone != Some(&i.app)) {
            let app = state.apps.get(&instance.app);
            let spec = app.and_then(|a| a.spec(instance.version));
            if let (Some(slot), Some(spec)) = (slots.get_mut(&instance.node), spec) {
                reserve(slot, instance, spec);
            }
        }
        for instance in failed_lately(state, now) {
            if let Some(slot) = slots.get_mut(&instance.node) {
                *slot.failed.entry(instance.app.clone()).or_default() += 1;
            }
        }
        Self { slots }
    }

    /// Places up to `count` instances, each noted on the board. Fewer come with the reasons against every node.
    pub(crate) fn place(
        &mut self,
        state: &State,
        demand: Demand<'_>,
        count: usize,
    ) -> (Vec<Choice>, Option<Misfits>) {
        let mut peers = peers_per_node(state, demand.peers);
        let homes = Homes::of(state, demand.spec);
        let mut choices = Vec::new();
        while choices.len() < count {
            match self.one(demand.spec, &peers, &homes) {
                Ok(choice) => {
                    *peers.entry(choice.placement.node.clone()).or_default() += 1;
                    choices.push(choice);
                }
                Err(misfits) => return (choices, Some(misfits)),
            }
        }
        (choices, None)
    }

    fn one(
        &mut self,
        spec: &AppSpec,
        peers: &BTreeMap<NodeId, u32>,
        homes: &Homes<'_>,
    ) -> Result<Choice, Misfits> {
        let mut misfits = BTreeMap::new();
        let mut best: Option<(Score<'_>, Vec<PortBinding>)> = None;
        for (id, slot) in &self.slots {
            let near = peers.get(*id).copied().unwrap_or_default();
            let fits = homes.fit(id, peers);
            match fits.and_then(|()| filter::fits(slot, spec, near)) {
                Err(misfit) => drop(misfits.insert((*id).clone(), misfit)),
                Ok(ports) => {
                    let score = score(id, slot, spec, near);
                    if best.as_ref().is_none_or(|(have, _)| score < *have) {
                        best = Some((score, ports));
                    }
                }
            }
        }
        let (score, ports) = best.ok_or(Misfits(misfits))?;
        let node = score.node.clone();
        let reason = format!(
            "{} of this set, {} of {} and {} instances in all there before it{}",
            score.peers,
            score.of_app,
            spec.app,
            score.total,
            homes.told(&node)
        );
        self.note(&node, spec, &ports);
        Ok(Choice {
            placement: Placement { node, ports },
            reason,
        })
    }

    fn note(&mut self, node: &NodeId, spec: &AppSpec, ports: &[PortBinding]) {
        let Some(slot) = self.slots.get_mut(node) else {
            return;
        };
        slot.used = slot.used.plus(&spec.resources);
        slot.total += 1;
        *slot.per_app.entry(spec.app.clone()).or_default() += 1;
        let who = format!("a new instance of {}", spec.app);
        slot.writers.add(&spec.app, &spec.volumes, &who);
        for port in ports.iter().flat_map(PortBinding::hosts) {
            slot.taken.insert(port, who.clone());
        }
    }
}

fn score<'a>(node: &'a NodeId, slot: &Slot<'_>, spec: &AppSpec, peers: u32) -> Score<'a> {
    Score {
        failed: slot.failed.get(&spec.app).copied().unwrap_or_default(),
        peers,
        of_app: slot.per_app.get(&spec.app).copied().unwrap_or_default(),
        total: slot.total,
        load: slot.offer.map_or(0.0, |o| o.load),
        node,
    }
}

fn slot<'a>(state: &State, view: &'a LeaderView, now: Timestamp, node: &'a Node) -> Slot<'a> {
    let id = &node.info.node;
    let released = node.released.iter();
    Slot {
        info: &node.info,
        skipped: ports::skipped(state, &node.info.ports),
        alive: view.is_alive(id, now),
        lost: node.state == NodeState::Lost,
        used: Usage::default(),
        taken: BTreeMap::new(),
        released: released
            .map(|(port, r)| (*port, (r.at, ports::may_be_used(state, view, now, r))))
            .collect(),
        total: 0,
        per_app: BTreeMap::new(),
        failed: BTreeMap::new(),
        offer: view.offer_of(id),
        writers: Writers::default(),
    }
}

/// What an instance reserves stays reserved until it is gone from the state.
fn reserve(slot: &mut Slot<'_>, instance: &Instance, spec: &AppSpec) {
    slot.used = slot.used.plus(&spec.resources);
    slot.total += 1;
    *slot.per_app.entry(instance.app.clone()).or_default() += 1;
    for port in instance.ports.iter().flat_map(PortBinding::hosts) {
        slot.taken.insert(port, instance.id.to_string());
    }
    if !instance.is_over() {
        let who = instance.id.as_str();
        slot.writers.add(&instance.app, &spec.volumes, who);
    }
}

/// Instances that failed or were rejected a short while ago, gone or not. A node is left out of nothing for ever.
fn failed_lately(state: &State, now: Timestamp) -> impl Iterator<Item = &Instance> {
    let all = state.instances.values().chain(state.departed.iter());
    let recent = move |i: &&Instance| now.since(i.ending_at.unwrap_or(i.placed_at)) < FAILED_FOR;
    all.map(|i| &**i).filter(|i| i.has_failed()).filter(recent)
}

fn peers_per_node(state: &State, peers: &BTreeSet<InstanceId>) -> BTreeMap<NodeId, u32> {
    let mut counts = BTreeMap::new();
    for instance in peers.iter().filter_map(|id| state.instances.get(id)) {
        *counts.entry(instance.node.clone()).or_default() += 1;
    }
    counts
}

/// Why no node fits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Misfits(pub(crate) BTreeMap<NodeId, Misfit>);

impl Misfits {
    /// One line per node.
    pub(crate) fn lines(&self) -> Vec<String> {
        let each = self.0.iter();
        let mut lines: Vec<_> = each.map(|(node, why)| format!("{node}: {why}")).collect();
        if lines.is_empty() {
            lines.push(self.to_string());
        }
        lines
    }
}

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no node has joined yet");
        }
        // Thousands of nodes tend to share a few reasons: the first ones are enough to act upon.
        let shown = self.0.iter().take(5);
        let each: Vec<_> = shown.map(|(node, why)| format!("{node}: {why}")).collect();
        f.write_str(&each.join("; "))?;
        match self.0.len().saturating_sub(5) {
            0 => Ok(()),
            more => write!(f, "; and {more} more nodes"),
        }
    }
}
