//! Zones come and go, nodes and services move between them. A balancer is told to let go of a service only for such a move, and counts until
//! it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::api::ApiError;
use hancock_proto::event::Level;
use hancock_proto::ids::{AppName, BootId, DocIndex, NodeId, Revision, ZoneName};
use hancock_proto::service::ServiceName;
use hancock_proto::zone::Zone;

use super::cutover::{holds, reroute};
use super::step::{About, Step};
use crate::command::{Evidence, Reply};
use crate::refuse;
use crate::state::{App, Carry, State};

/// Most zones there may be.
const MAX_ZONES: usize = 1024;

/// A zone is made, or changed while nothing uses it.
pub(super) fn put(step: &mut Step<'_>, name: &ZoneName, zone: &Zone) -> Result<Reply, ApiError> {
    let known = step.state.zone(name);
    if known.as_ref() == Some(zone) {
        return Ok(Reply::Done);
    }
    if name.is_default() && !zone.selector.is_empty() {
        return Err(refuse::conflict(
            "zone default is all nodes; give another zone a selector".to_owned(),
        ));
    }
    // How long silent readers have concerns cutovers to come only.
    if known.is_some_and(|known| known.selector != zone.selector) {
        unused(step.state, name)?;
    }
    if !step.state.zones.contains_key(name) && step.state.zones.len() >= MAX_ZONES {
        return Err(refuse::conflict(format!(
            "there are {MAX_ZONES} zones already; delete one with `hancock zone delete ZONE`"
        )));
    }
    step.state.zones.insert(name.clone(), zone.clone());
    let nodes = step.state.nodes_in(zone).count();
    tell(
        step,
        "zone_changed",
        format!("zone {name} has {nodes} nodes"),
    );
    Ok(Reply::Done)
}

/// A zone goes that nothing uses.
pub(super) fn delete(step: &mut Step<'_>, name: &ZoneName) -> Result<Reply, ApiError> {
    if name.is_default() {
        return Err(refuse::conflict("zone default is always there".to_owned()));
    }
    if !step.state.zones.contains_key(name) {
        return Err(refuse::zone_not_found(name));
    }
    unused(step.state, name)?;
    step.state.zones.remove(name);
    tell(step, "zone_deleted", format!("zone {name} is deleted"));
    Ok(Reply::Done)
}

fn tell(step: &mut Step<'_>, kind: &str, message: String) {
    step.event(Level::Info, kind, About::default(), message);
}

fn unused(state: &State, zone: &ZoneName) -> Result<(), ApiError> {
    let users = users(state, zone);
    match users == Users::default() {
        true => Ok(()),
        false => Err(refuse::zone_in_use(zone, &users)),
    }
}

/// Who uses a zone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Users {
    /// Apps with a service in it: now, a moment ago, or soon. What is published counts, whatever is decided by now.
    pub(crate) apps: BTreeSet<AppName>,
    /// Upstreams kept by hand.
    pub(crate) kept: BTreeSet<ServiceName>,
    /// Those that were deleted, and that the registry still holds.
    pub(crate) leaving: BTreeSet<ServiceName>,
}

fn users(state: &State, zone: &ZoneName) -> Users {
    let entries = state.registry.entries().map(|(_, entry)| entry);
    let members = entries.filter_map(|entry| entry.doc.hancock.as_ref());
    let published = members.filter(|member| member.zones.contains(zone));
    let by_spec = state.index.zones.of(zone).cloned();
    let apps = by_spec.chain(published.map(|member| member.app.clone()));
    let mut users = Users {
        apps: apps.filter(|app| *app != AppName::by_hand()).collect(),
        ..Users::default()
    };
    let kept = state.kept.upstreams.iter();
    for (name, upstream) in kept.filter(|(_, upstream)| upstream.zone == *zone) {
        let names = match upstream.servers.is_empty() {
            true => &mut users.leaving,
            false => &mut users.kept,
        };
        names.insert(name.clone());
    }
    users
}

/// The app's services have changed: zones that carried them before do so until the new ones' balancers have taken over. `before`: what
/// carried each service. The newest cutover is the one that ends it.
pub(super) fn stay(app: &mut App, before: BTreeMap<ServiceName, BTreeSet<ZoneName>>) {
    app.routes.staying.clear();
    let now = app.carried();
    let staying = before.into_iter().filter_map(|(name, zones)| {
        let left: BTreeSet<_> = zones.difference(now.get(&name)?).cloned().collect();
        (!left.is_empty()).then_some((name, left))
    });
    app.routes.staying = staying.collect();
    let moves = !app.routes.staying.is_empty();
    for cutover in &mut app.routes.cutovers {
        cutover.moves = false;
    }
    if let Some(newest) = app.routes.cutovers.last_mut() {
        newest.moves = moves;
    }
}

/// The balancers of the new zones serve: those of the old ones are told to let go.
pub(super) fn leave_zones(
    step: &mut Step<'_>,
    name: &AppName,
    index: DocIndex,
    evidence: &Evidence,
) -> Result<Reply, ApiError> {
    let app = step.app(name)?;
    let cutover = app.routes.cutover(index);
    let drained = cutover.is_some_and(|c| c.moves && c.drain_at.is_some());
    if !drained || !holds(step, &app, evidence, index) || !taken_over(step.state, &app, evidence) {
        return Err(refuse::outdated(format!("leave zones of {name}")));
    }
    let before = Carry::of(step.state, &app);
    step.edit_app(name, |app| {
        app.routes.staying.clear();
        for cutover in &mut app.routes.cutovers {
            cutover.moves = false;
        }
    });
    part(step, name, &before, false);
    reroute(step, name);
    let message = format!("the balancers of the zones {name} has left let go of it");
    tell(step, "zones_left", message);
    Ok(Reply::Done)
}

/// Whether every service has a balancer in its new zone that serves it; of one that routes to nobody that is not asked.
pub(crate) fn taken_over(state: &State, app: &App, evidence: &Evidence) -> bool {
    let Some(spec) = app.routed_spec().filter(|_| !app.routes.serving.is_empty()) else {
        return true;
    };
    spec.service.iter().all(|service| {
        let moved = |name: &ServiceName| app.routes.staying.contains_key(name);
        let Some(zone) = state
            .zone(&service.zone)
            .filter(|_| service.names().any(|n| moved(&n)))
        else {
            return true;
        };
        let mut nodes = state.nodes_in(&zone);
        nodes.any(|(id, _)| evidence.confirmed.contains_key(id))
    })
}

/// A node's labels have changed, and with them its zones: what it carries no more it is to let go of.
pub(super) fn relabelled(step: &mut Step<'_>, id: &NodeId, former: &BTreeMap<String, String>) {
    let Some(node) = step.state.nodes.get(id).cloned() else {
        return;
    };
    let labels = &node.info.labels;
    let (before, after) = (step.state.zones_of(former), step.state.zones_of(labels));
    if before == after {
        return;
    }
    let revision = step.state.registry.advance();
    if let Some(node) = step.state.nodes.get_mut(id) {
        Arc::make_mut(node).zoned = revision;
    }
    let zones = before.symmetric_difference(&after);
    let apps = zones.flat_map(|zone| step.state.index.zones.of(zone));
    let apps: BTreeSet<AppName> = apps.cloned().collect();
    for name in apps {
        let Ok(app) = step.app(&name) else { continue };
        let carry = Carry::of(step.state, &app);
        let lost = lost(&carry, former, &carry, labels);
        if !lost.is_empty() {
            leave(step, &name, id, lost, Some(revision));
        }
    }
}

/// The app has changed, and with it what nodes carry: those that lost names are to let go of them. `whole`: only those that carry nothing
/// of it any more, as others confirm what comes instead.
pub(super) fn part(step: &mut Step<'_>, name: &AppName, before: &Carry, whole: bool) {
    let Ok(app) = step.app(name) else { return };
    let after = Carry::of(step.state, &app);
    // Most changes are of other things.
    if before.is_within(&after) {
        return;
    }
    let nodes = step.state.nodes.iter();
    let leaving = nodes.filter_map(|(id, node)| {
        let labels = &node.info.labels;
        let lost = lost(before, labels, &after, labels);
        let stays = lost.is_empty() || (whole && after.any(labels));
        (!stays).then(|| (id.clone(), lost))
    });
    for (id, lost) in leaving.collect::<Vec<_>>() {
        leave(step, name, &id, lost, None);
    }
}

/// Names a node carried that it no longer does.
fn lost(
    before: &Carry,
    former: &BTreeMap<String, String>,
    after: &Carry,
    labels: &BTreeMap<String, String>,
) -> BTreeSet<ServiceName> {
    let kept: BTreeSet<_> = after.names(labels).collect();
    let lost = before.names(former).filter(|name| !kept.contains(name));
    lost.cloned().collect()
}

fn leave(
    step: &mut Step<'_>,
    app: &AppName,
    node: &NodeId,
    names: BTreeSet<ServiceName>,
    told: Option<Revision>,
) {
    step.edit_app(app, |app| {
        let leaving = app.routes.leaving.entry(node.clone()).or_default();
        leaving.names.extend(names);
        leaving.told = told;
    });
}

/// Nodes have let go of an app: they are not asked any more.
pub(super) fn let_go(
    step: &mut Step<'_>,
    name: &AppName,
    nodes: &BTreeMap<NodeId, BootId>,
) -> Result<Reply, ApiError> {
    let app = step.app(name)?;
    let sound = |(id, boot): (&NodeId, &BootId)| {
        let told = app.routes.leaving.get(id).and_then(|leaving| leaving.told);
        let node = step.state.nodes.get(id);
        told.is_some() && node.is_some_and(|node| node.boot == *boot)
    };
    if nodes.is_empty() || !nodes.iter().all(sound) {
        return Err(refuse::outdated(format!("let nodes go that left {name}")));
    }
    step.edit_app(name, |app| {
        app.routes.leaving.retain(|id, _| !nodes.contains_key(id));
    });
    Ok(Reply::Done)
}
