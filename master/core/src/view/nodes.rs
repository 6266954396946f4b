//! Nodes, and the cluster as a whole.

use std::collections::BTreeMap;

use hancock_proto::api::{NodeView, StatusView};

use super::Context;
use crate::state::{Node, NodeState};

/// Nodes by name.
pub fn nodes(ctx: Context<'_>) -> Vec<NodeView> {
    ctx.state
        .nodes
        .values()
        .map(|node| one(ctx, node))
        .collect()
}

fn one(ctx: Context<'_>, node: &Node) -> NodeView {
    let id = &node.info.node;
    let heard = ctx.leader.heard(id);
    NodeView {
        info: node.info.clone(),
        state: word(ctx, node).to_owned(),
        heard_ms: heard.map(|h| u64::try_from(ctx.now.since(h).as_millis()).unwrap_or(u64::MAX)),
        used: node.used(),
        instances: u32::try_from(node.assigned.len()).unwrap_or(u32::MAX),
        generation: ctx.leader.generation(id),
        offer: ctx.leader.offer_of(id).cloned(),
    }
}

fn word(ctx: Context<'_>, node: &Node) -> &'static str {
    match node.state {
        NodeState::Lost => "lost",
        NodeState::Alive if ctx.leader.is_alive(&node.info.node, ctx.now) => "alive",
        NodeState::Alive => "unknown",
    }
}

/// How the cluster is. None: no cluster has begun. `version` is the answering master's; the proxy's address is filled in by the shell.
pub fn status(ctx: Context<'_>, version: &str) -> Option<StatusView> {
    let state = ctx.state;
    let open = state.deployments.values().filter(|d| !d.phase.is_over());
    Some(StatusView {
        cluster: state.cluster.clone()?,
        version: version.to_owned(),
        leader: state.leader.clone(),
        term: state.term,
        applied: state.applied,
        nodes: tally(state.nodes.values().map(|n| word(ctx, n))),
        instances: tally(state.instances.values().map(|i| i.facts.life.word())),
        apps: u32::try_from(state.apps.len()).unwrap_or(u32::MAX),
        deployments: u32::try_from(open.count()).unwrap_or(u32::MAX),
        registry: state.registry.revision(),
        trouble: None,
        proxy: None,
    })
}

fn tally<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}
