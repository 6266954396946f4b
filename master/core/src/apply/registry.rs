//! The embedded registry, and the choice of another one beside it.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::api::ApiError;
use hancock_proto::event::Level;
use hancock_proto::ids::{BootId, NodeId, Revision};
use hancock_proto::registry::{Batch, Choice, Fence, RegistryUrl};
use hancock_proto::service::ServiceName;

use super::step::{About, Step};
use crate::command::Reply;
use crate::refuse;
use crate::state::Switch;

pub(super) fn publish(
    step: &mut Step<'_>,
    batch: &Batch,
    fence: &Fence,
) -> Result<Reply, ApiError> {
    let store = &mut step.state.registry;
    Ok(Reply::Registry(store.publish(batch, fence)))
}

pub(super) fn raise(step: &mut Step<'_>, fence: &Fence) -> Result<Reply, ApiError> {
    let store = &mut step.state.registry;
    let raised = store.raise(fence);
    let rules = store.list().fence;
    Ok(Reply::Raised(rules.filter(|_| !raised)))
}

/// A switch begins; one that was under way is forgotten.
pub(super) fn choose(step: &mut Step<'_>, url: &RegistryUrl) -> Result<Reply, ApiError> {
    let choosing = &mut step.state.choosing;
    if choosing.newest().url == *url {
        return Ok(Reply::Done);
    }
    let to = Choice {
        number: choosing.newest().number + 1,
        url: url.clone(),
    };
    let message = format!(
        "registry {to_url} is chosen, {now} still in force",
        to_url = to.url,
        now = choosing.now.url
    );
    // The masters' own holds everything as it is.
    let filled = url.is_embedded().then(|| step.state.registry.revision());
    choosing.next = Some(Switch {
        to,
        since: step.at,
        filled,
    });
    step.event(Level::Info, "registry_changed", About::default(), message);
    Ok(Reply::Done)
}

pub(super) fn filled(
    step: &mut Step<'_>,
    number: u64,
    revision: Revision,
) -> Result<Reply, ApiError> {
    let next = step.state.choosing.next.as_mut();
    let Some(next) = next.filter(|next| next.to.number == number && next.filled.is_none()) else {
        return Err(refuse::outdated(format!("fill registry {number}")));
    };
    next.filled = Some(revision);
    Ok(Reply::Done)
}

/// Every registered node follows it, by the boots registered.
pub(super) fn switched(
    step: &mut Step<'_>,
    number: u64,
    nodes: &BTreeMap<NodeId, BootId>,
) -> Result<Reply, ApiError> {
    let next = step.state.choosing.next.clone();
    let next = next.filter(|next| next.to.number == number && next.filled.is_some());
    let known = &step.state.nodes;
    let all = known
        .iter()
        .all(|(id, node)| nodes.get(id) == Some(&node.boot));
    let Some(next) = next.filter(|_| all) else {
        return Err(refuse::outdated(format!("switch to registry {number}")));
    };
    let message = format!("registry {} is in force", next.to.url);
    step.state.choosing.now = next.to;
    step.state.choosing.next = None;
    step.event(Level::Info, "registry_changed", About::default(), message);
    Ok(Reply::Done)
}

/// Somebody else wrote to names of ours, or the store lost them.
pub(super) fn repaired(
    step: &mut Step<'_>,
    number: u64,
    names: &BTreeSet<ServiceName>,
    count: u64,
) -> Result<Reply, ApiError> {
    let choosing = step.state.choosing.clone();
    let Some(choice) = choosing.outside().find(|choice| choice.number == number) else {
        return Err(refuse::outdated(format!("repair registry {number}")));
    };
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let message = format!(
        "registry {} held {count} names otherwise than they should be, among them {}; they were written again",
        choice.url,
        names.join(", ")
    );
    step.event(
        Level::Warning,
        "registry_repaired",
        About::default(),
        message,
    );
    Ok(Reply::Done)
}
