//! Which registry is in force, and how far a switch is.

use hancock_proto::api::RegistryView;
use hancock_proto::ids::Revision;

use super::Context;

/// Nodes named at most.
const SHOWN: usize = 16;

/// The choice and its phase.
pub fn registry(ctx: Context<'_>) -> RegistryView {
    let choosing = &ctx.state.choosing;
    let next = choosing.next.as_ref();
    let filled = next.map_or(Some(Revision(0)), |next| next.filled);
    let number = choosing.newest().number;
    let nodes = ctx.state.nodes.iter();
    let follows = |node: &crate::state::Node| {
        let id = &node.info.node;
        filled.is_some_and(|at| ctx.leader.follows(id, &node.boot, number, at))
    };
    let waiting: Vec<_> = nodes
        .filter(|(_, node)| !follows(node))
        .map(|(id, _)| id.clone())
        .collect();
    let store = ctx.leader.outside().store(number);
    let readers = store.and_then(|store| store.readers());
    let there = readers.into_iter().flatten().filter(|(_, r)| r.is_there);
    let reading: Vec<_> = there.map(|(name, _)| name.clone()).collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let phase = match next.map(|next| next.filled) {
        None => "settled",
        Some(None) => "filling",
        Some(Some(_)) => "confirming",
    };
    RegistryView {
        url: choosing.now.url.to_string(),
        phase: phase.to_owned(),
        next: next.map(|next| next.to.url.to_string()),
        since: next.map(|next| next.since),
        following: count(ctx.state.nodes.len() - waiting.len()),
        nodes: count(ctx.state.nodes.len()),
        waiting: waiting.into_iter().take(SHOWN).collect(),
        readers: readers.map(|_| count(reading.len())),
        reading: reading.into_iter().take(SHOWN).collect(),
        revision: ctx.state.registry.revision(),
    }
}
