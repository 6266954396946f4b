//! Removes what nobody needs any more: ended instances no document speaks of, old versions, old deployments.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::assignment::PortBinding;
use hancock_proto::ids::{AppName, DocIndex, InstanceId, Version};
use hancock_proto::service::ServiceName;

use super::step::Step;
use crate::state::{
    App, Instance, MAX_DEPARTED, MAX_DEPLOYMENTS, MAX_VERSIONS, Released, Stage, State,
};

/// How long a node remembers a port it gave back.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(24 * 3600);

/// Removes the app's instances that have ended and left the published documents; `touched`: only these may have.
pub(super) fn sweep(step: &mut Step<'_>, name: &AppName, touched: Option<&BTreeSet<InstanceId>>) {
    let Some(app) = step.state.apps.get(name).cloned() else {
        return;
    };
    let ids = touched.unwrap_or(&app.instances).iter();
    let known = ids.filter_map(|id| step.state.instances.get(id));
    let gone: Vec<_> = known
        .filter(|i| removable(&app, i))
        .map(|i| i.id.clone())
        .collect();
    for id in gone {
        remove(step, &id);
    }
    versions(step, name);
}

fn removable(app: &App, instance: &Instance) -> bool {
    instance.stage == Stage::Ending
        && instance.is_over()
        && !app.routes.mentions(&instance.id)
        && instance
            .left
            .is_none_or(|left| app.routes.published >= left)
}

/// Removes one instance, remembering its ports, and itself when it ended badly.
pub(super) fn remove(step: &mut Step<'_>, id: &InstanceId) {
    let Some(gone) = step.remove_instance(id) else {
        return;
    };
    release_ports(step, &gone);
    if gone.has_failed() {
        let departed = &mut step.state.departed;
        departed.push(gone);
        departed.excess(MAX_DEPARTED);
    }
}

fn release_ports(step: &mut Step<'_>, gone: &Instance) {
    let at = step.at;
    let names = match step.state.apps.get(&gone.app) {
        Some(app) if gone.joined > DocIndex(0) => served_names(step.state, app),
        _ => BTreeSet::new(),
    };
    let Some(node) = step.state.nodes.get_mut(&gone.node) else {
        return;
    };
    let node = Arc::make_mut(node);
    node.released.retain(|_, r| at.since(r.at) < QUARANTINE);
    for port in gone.ports.iter().flat_map(PortBinding::hosts) {
        let released = Released {
            at,
            app: gone.app.clone(),
            instance: gone.id.clone(),
            index: gone.left.unwrap_or_default(),
            names: names.clone(),
        };
        node.released.insert(port, released);
    }
}

/// Every name balancers may know the app's instances by, of former versions and of a deleted app too; not those that are another app's now.
fn served_names(state: &State, app: &App) -> BTreeSet<ServiceName> {
    let taken = |name: &ServiceName| {
        let owners = state.index.names.of(name).filter(|a| **a != app.name);
        let mut others = owners.filter_map(|owner| state.apps.get(owner));
        others.any(|other| other.names().contains(name))
    };
    let names = app.versions.values().flat_map(|v| v.spec.names());
    let names = names.filter(|name| !taken(name));
    names.chain(app.routes.names.iter().cloned()).collect()
}

/// Drops the oldest versions nobody uses.
fn versions(step: &mut Step<'_>, name: &AppName) {
    let Some(app) = step.state.apps.get(name) else {
        return;
    };
    let excess = app.versions.len().saturating_sub(MAX_VERSIONS);
    if excess == 0 {
        return;
    }
    let used = used_versions(step.state, app);
    let unused = app.versions.keys().filter(|v| !used.contains(v));
    let drop: Vec<_> = unused.take(excess).copied().collect();
    if let Some(app) = step.state.apps.get_mut(name) {
        Arc::make_mut(app).versions.retain(|v, _| !drop.contains(v));
    }
}

fn used_versions(state: &State, app: &App) -> BTreeSet<Version> {
    let instances = state.instances_of(app).flat_map(|i| [i.version, i.rules]);
    let deployments = state
        .active_of(app)
        .flat_map(|d| [Some(d.version), d.from].into_iter().flatten());
    // The newest stable one stays: something to go back to.
    let stable = app.versions.iter().rev().find(|(_, v)| v.stable);
    [app.wanted, app.routes.version]
        .into_iter()
        .chain(app.live)
        .chain(app.resting)
        .chain(stable.map(|(v, _)| *v))
        .chain(instances)
        .chain(deployments)
        .collect()
}

/// Drops the oldest finished deployments.
pub(super) fn deployments(step: &mut Step<'_>) {
    let excess = step.state.deployments.len().saturating_sub(MAX_DEPLOYMENTS);
    if excess == 0 {
        return;
    }
    let past = step.state.index.past.iter().take(excess).copied();
    for id in past.collect::<Vec<_>>() {
        step.state.deployments.remove(&id);
        step.state.index.past.remove(&id);
    }
}
