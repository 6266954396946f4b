//! What a node hears of the embedded registry: the documents of its zones, and nothing of others.

use hancock_proto::hub::HubMessage;
use hancock_proto::ids::{NodeId, Revision};

use crate::state::State;

/// What the registry says to `node` beyond `position`, where its watch is; None: nothing. A node whose zones have changed since gets
/// everything anew, and what is not in it is gone for it.
pub fn registry_news(
    state: &State,
    node: &NodeId,
    position: Option<Revision>,
) -> Option<HubMessage> {
    let store = &state.registry;
    let revision = store.revision();
    if position == Some(revision) {
        return None;
    }
    let zones = state.zones_of_node(node);
    let zoned = state.nodes.get(node).map(|n| n.zoned).unwrap_or_default();
    let since = position.filter(|at| *at >= zoned);
    let changes = since.and_then(|at| store.changes_after(at));
    Some(match changes {
        Some(changes) => HubMessage::RegistryChanges {
            revision,
            changes: changes.into_iter().map(|c| c.for_zones(&zones)).collect(),
        },
        None => HubMessage::RegistryList(store.list().for_zones(&zones, zoned)),
    })
}

/// The registry a node shall follow beside its session.
pub fn chosen(state: &State, node: &NodeId) -> HubMessage {
    let choosing = &state.choosing;
    HubMessage::Registry {
        choice: choosing.newest().clone(),
        zones: state.zones_of_node(node),
        filled: choosing.next.as_ref().and_then(|next| next.filled),
    }
}
