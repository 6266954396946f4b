//! Host ports: fixed ones are free or not; chosen ones are those free for longest, so that no balancer mistakes a newcomer for the
//! instance that had the port before.

use std::collections::BTreeSet;

use hancock_proto::app::{AppSpec, PortSpan};
use hancock_proto::assignment::PortBinding;
use hancock_proto::ids::DocIndex;
use hancock_proto::ports::PortSet;
use hancock_proto::time::Timestamp;

use super::{Misfit, Slot};
use crate::apply::QUARANTINE;
use crate::leader::LeaderView;
use crate::state::{Released, State};

/// A port for each one the spec names.
pub(super) fn choose(slot: &Slot<'_>, spec: &AppSpec) -> Result<Vec<PortBinding>, Misfit> {
    let fixed = spec.ports.iter().filter_map(|p| p.host);
    let mut mine: BTreeSet<u16> = fixed.flat_map(PortSpan::each).collect();
    let mut bindings = Vec::with_capacity(spec.ports.len());
    for port in &spec.ports {
        let host = match port.host {
            Some(fixed) => take(slot, fixed)?,
            None => pick(slot, &mine, port.count())?,
        };
        let binding = PortBinding {
            name: port.name.clone(),
            container: port.container.map(PortSpan::first),
            host,
            count: port.count(),
            protocol: port.protocol,
        };
        mine.extend(binding.hosts());
        bindings.push(binding);
    }
    Ok(bindings)
}

/// Who has the port.
fn held(slot: &Slot<'_>, port: u16) -> Option<String> {
    if let Some(instance) = slot.taken.get(&port) {
        return Some(instance.clone());
    }
    if slot.offer.is_some_and(|o| o.ports_in_use.contains(&port)) {
        return Some("another program on the node".to_owned());
    }
    match slot.released.get(&port) {
        Some((_, true)) => Some("an instance that balancers may still remember".to_owned()),
        _ => None,
    }
}

/// The first of fixed ports, when all are free.
fn take(slot: &Slot<'_>, fixed: PortSpan) -> Result<u16, Misfit> {
    let mut each = fixed.each();
    match each.find_map(|port| Some((port, held(slot, port)?))) {
        Some((port, by)) => Err(Misfit::Port { port, by }),
        None => Ok(fixed.first()),
    }
}

/// The first of `count` ports never given out, or else of those free for longest.
fn pick(slot: &Slot<'_>, mine: &BTreeSet<u16>, count: u16) -> Result<u16, Misfit> {
    let all = &slot.info.ports;
    let free =
        |port: u16| all.contains(port) && !mine.contains(&port) && held(slot, port).is_none();
    let each = |first: u16| (0..count).map(move |n| first.checked_add(n));
    let mut oldest: Option<(Timestamp, u16)> = None;
    for first in all.turned(slot.skipped) {
        if !each(first).all(|port| port.is_some_and(free)) {
            continue;
        }
        let released = each(first).flatten().filter_map(|p| slot.released.get(&p));
        match released.map(|(at, _)| *at).max() {
            None => return Ok(first),
            Some(at) if oldest.is_none_or(|(have, _)| at < have) => {
                oldest = Some((at, first));
            }
            Some(_) => {}
        }
    }
    let none = || Misfit::NoPort {
        count,
        of: all.brief(),
    };
    oldest.map(|(_, port)| port).ok_or_else(none)
}

/// How many ports a cluster passes over at first, so that two on one machine (a laptop, a test) seldom choose alike.
pub(super) fn skipped(state: &State, ports: &PortSet) -> u32 {
    let cluster = state.cluster.as_ref().map_or("", |c| c.as_str());
    let hash = cluster
        .bytes()
        .fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    hash.checked_rem(ports.len()).unwrap_or_default()
}

/// Whether some balancer may still send to the instance that gave the port back.
pub(super) fn may_be_used(
    state: &State,
    view: &LeaderView,
    now: Timestamp,
    released: &Released,
) -> bool {
    if released.index == DocIndex(0) || now.since(released.at) >= QUARANTINE {
        return false;
    }
    state.nodes.keys().any(|node| {
        let mut names = released.names.iter();
        let remembered = names.any(|name| match view.service(node, name) {
            // Nothing heard in this term: it may.
            None => true,
            // No such service there: nothing to remember.
            Some(None) => false,
            Some(Some(report)) => report.confirmed < released.index,
        });
        remembered || !view.open(node, &released.instance).is_drained()
    })
}

#[cfg(test)]
mod tests;
