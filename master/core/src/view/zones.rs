//! Zones, what their balancers carry, and what goes on there.

use std::collections::BTreeMap;

use hancock_proto::api::{ApiError, PeerView, TopLine, UpstreamView, ZoneView};
use hancock_proto::ids::{AppName, NodeId, ZoneName};
use hancock_proto::registry::Entry;
use hancock_proto::resources::Traffic;
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::{Server, UpstreamDoc};
use hancock_proto::zone::Zone;

use super::Context;
use crate::desired::is_ready;
use crate::refuse;
use crate::state::Node;

/// Most lines of one look at what goes on.
const MAX_LINES: usize = 1000;

/// Every zone by name.
pub fn zones(ctx: Context<'_>) -> Vec<ZoneView> {
    let all = ctx.state.all_zones().into_iter();
    all.map(|(name, zone)| shown(ctx, name, &zone)).collect()
}

/// One zone.
///
/// # Errors
/// `zone_not_found`.
pub fn zone(ctx: Context<'_>, name: &ZoneName) -> Result<ZoneView, ApiError> {
    let zone = ctx.state.zone(name);
    let zone = zone.ok_or_else(|| refuse::zone_not_found(name))?;
    Ok(shown(ctx, name.clone(), &zone))
}

fn shown(ctx: Context<'_>, name: ZoneName, zone: &Zone) -> ZoneView {
    let nodes = ctx.state.nodes_in(zone).map(|(id, _)| id.clone());
    let entries = ctx.state.registry.entries();
    let services = entries.filter(|(_, entry)| is_in(&entry.doc, &name));
    ZoneView {
        nodes: nodes.collect(),
        services: u32::try_from(services.count()).unwrap_or(u32::MAX),
        zone: name,
        selector: zone.selector.clone(),
        external_settle: zone.external_settle,
    }
}

/// What the registry holds, as balancers hear it.
fn carried(ctx: Context<'_>) -> BTreeMap<ServiceName, std::sync::Arc<UpstreamDoc>> {
    let entries = ctx.state.registry.list().entries.into_iter();
    entries
        .map(|(name, Entry { doc, .. })| (name, doc))
        .collect()
}

/// A document without zones is in the default one.
fn is_in(doc: &UpstreamDoc, zone: &ZoneName) -> bool {
    let named = doc.hancock.as_ref().map(|member| &member.zones);
    match named.filter(|zones| !zones.is_empty()) {
        Some(zones) => zones.contains(zone),
        None => zone.is_default(),
    }
}

/// The services of a zone, with their peers and how those are.
///
/// # Errors
/// `zone_not_found`.
pub fn upstreams(ctx: Context<'_>, name: &ZoneName) -> Result<Vec<UpstreamView>, ApiError> {
    let zone = ctx.state.zone(name);
    let zone = zone.ok_or_else(|| refuse::zone_not_found(name))?;
    let carried = carried(ctx).into_iter();
    let mine = carried.filter(|(_, doc)| is_in(doc, name));
    Ok(mine
        .map(|(name, doc)| upstream(ctx, &zone, name, &doc))
        .collect())
}

fn upstream(ctx: Context<'_>, zone: &Zone, name: ServiceName, doc: &UpstreamDoc) -> UpstreamView {
    let nodes: Vec<_> = ctx.state.nodes_in(zone).collect();
    let index = doc.index();
    let confirms = |(id, node): &&(&NodeId, &Node)| {
        let confirmed = ctx.leader.confirmed(id, &node.boot, [&name]);
        confirmed.is_some_and(|at| at >= index)
    };
    let told: Vec<_> = nodes
        .iter()
        .filter_map(|(id, _)| traffic(ctx, id, &name))
        .collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    UpstreamView {
        app: owner(doc),
        index,
        confirmed: count(nodes.iter().filter(confirms).count()),
        balancers: count(nodes.len()),
        peers: doc
            .servers()
            .map(|server| peer(ctx, server, &told))
            .collect(),
        doc: doc.clone(),
        name,
    }
}

fn owner(doc: &UpstreamDoc) -> Option<AppName> {
    let member = doc.hancock.as_ref()?;
    (member.app != AppName::by_hand()).then(|| member.app.clone())
}

/// What a node that is alive told of a service in its last offer.
fn traffic<'a>(ctx: Context<'a>, node: &NodeId, name: &ServiceName) -> Option<&'a Traffic> {
    let alive = ctx.leader.is_alive(node, ctx.now);
    let offer = ctx.leader.offer_of(node).filter(|_| alive)?;
    offer.traffic.get(name)
}

fn peer(ctx: Context<'_>, server: &Server, told: &[&Traffic]) -> PeerView {
    let address = format!("{}:{}", server.host, server.port);
    let known = server.instance.as_ref();
    let known = known.and_then(|id| ctx.state.instances.get(id));
    let failing = told.iter().filter(|t| t.failing.contains(&address)).count();
    let health = match known {
        Some(instance) if !is_ready(ctx.state, instance) => "not ready".to_owned(),
        _ if failing == 0 => "ok".to_owned(),
        _ if failing == told.len() => "failing".to_owned(),
        _ => format!("failing on {failing} of {}", told.len()),
    };
    PeerView {
        address,
        weight: server.weight.unwrap_or(1.0),
        instance: server.instance.clone(),
        node: known.map(|instance| instance.node.clone()),
        health,
    }
}

/// What goes on, of one zone or of all: the busiest first. None: the zone is not there.
///
/// # Errors
/// `zone_not_found`.
pub fn top(ctx: Context<'_>, name: Option<&ZoneName>) -> Result<Vec<TopLine>, ApiError> {
    let zone = name.map(|name| {
        ctx.state
            .zone(name)
            .ok_or_else(|| refuse::zone_not_found(name))
    });
    let zone = zone.transpose()?.unwrap_or_default();
    let carried = carried(ctx);
    let mine = |service: &ServiceName| {
        let doc = carried.get(service);
        name.is_none_or(|name| doc.is_some_and(|doc| is_in(doc, name)))
    };
    let mut lines: BTreeMap<ServiceName, TopLine> = BTreeMap::new();
    for (id, _) in ctx.state.nodes_in(&zone) {
        let offer = ctx.leader.offer_of(id);
        let offer = offer.filter(|_| ctx.leader.is_alive(id, ctx.now));
        let told = offer.into_iter().flat_map(|offer| &offer.traffic);
        for (service, traffic) in told.filter(|(service, _)| mine(service)) {
            let app = carried.get(service).and_then(|doc| owner(doc));
            add(
                lines
                    .entry(service.clone())
                    .or_insert_with(|| blank(service, app)),
                traffic,
            );
        }
    }
    let mut lines: Vec<_> = lines.into_values().collect();
    lines.sort_by(|a, b| {
        b.requests
            .total_cmp(&a.requests)
            .then_with(|| a.name.cmp(&b.name))
    });
    lines.truncate(MAX_LINES);
    Ok(lines)
}

fn blank(name: &ServiceName, app: Option<AppName>) -> TopLine {
    TopLine {
        name: name.clone(),
        app,
        requests: 0.0,
        errors: 0.0,
        latency_ms: 0.0,
        balancers: 0,
    }
}

/// The mean weighs each balancer's by what it carried.
fn add(line: &mut TopLine, traffic: &Traffic) {
    let all = line.requests + traffic.requests;
    let spent = line.latency_ms * line.requests + traffic.latency_ms * traffic.requests;
    line.latency_ms = if all > 0.0 { spent / all } else { 0.0 };
    line.requests = all;
    line.errors += traffic.errors;
    line.balancers += 1;
}
