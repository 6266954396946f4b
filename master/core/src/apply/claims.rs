//! Names and ports that apps claim. Each has one owner: a host or listen port is one app's, and no instance gets a host port that balancers
//! listen on.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::api::ApiError;
use hancock_proto::app::{AppSpec, PortSpan, Problem};
use hancock_proto::ids::AppName;
use hancock_proto::service::{ServiceKind, ServiceName};

use crate::refuse;
use crate::state::State;

/// Refuses a spec that claims what is another's.
pub(super) fn check(state: &State, spec: &AppSpec) -> Result<(), ApiError> {
    names(state, spec)?;
    ports(state, spec)
}

/// Two apps claiming one host or listen port are refused here, so that every name has one writer.
fn names(state: &State, spec: &AppSpec) -> Result<(), ApiError> {
    let wanted = spec.names();
    let owners = wanted.iter().flat_map(|name| {
        let others = state.index.names.of(name).filter(|a| **a != spec.app);
        others.map(move |other| (other, name))
    });
    let owners: BTreeSet<(&AppName, &ServiceName)> = owners.collect();
    let mut first: Option<(ServiceName, AppName)> = None;
    let mut problems = Vec::new();
    for (other, name) in owners {
        problems.push(Problem {
            path: "service".to_owned(),
            message: format!("{} belongs to app {other}", spoken(name)),
        });
        first.get_or_insert((name.clone(), other.clone()));
    }
    for (name, kept) in state
        .kept
        .upstreams
        .iter()
        .filter(|(n, _)| wanted.contains(*n))
    {
        problems.push(Problem {
            path: "service".to_owned(),
            message: format!(
                "{} is kept by hand in zone {}; `hancock zone delete-upstream` takes it away",
                spoken(name),
                kept.zone
            ),
        });
        first.get_or_insert((name.clone(), AppName::by_hand()));
    }
    match first {
        Some((name, owner)) => Err(refuse::name_taken(&name, &owner, problems)),
        None => Ok(()),
    }
}

/// How a message speaks of a service.
pub(crate) fn spoken(name: &ServiceName) -> String {
    match name.kind() {
        ServiceKind::Http(host) => format!("host {host}"),
        ServiceKind::Tcp(port) => format!("listen port {port}"),
    }
}

/// The app that has a name, had it a moment ago, or is about to have it.
pub(crate) fn owner(state: &State, name: &ServiceName) -> Option<AppName> {
    state.index.names.of(name).next().cloned()
}

/// Ports balancers listen on, or are about to, with their apps.
pub(crate) fn listens(state: &State) -> BTreeMap<u16, AppName> {
    let names = state.index.names.things();
    let names = names.chain(state.kept.upstreams.keys());
    let ports = names.filter_map(|name| match name.kind() {
        ServiceKind::Tcp(port) => Some(port),
        ServiceKind::Http(_) => None,
    });
    ports
        .filter_map(|port| Some((port, listener(state, port)?)))
        .collect()
}

/// Whose service listens on a port.
pub(super) fn listener(state: &State, port: u16) -> Option<AppName> {
    let name = ServiceName::tcp(port);
    let kept = state.kept.upstreams.contains_key(&name);
    let by_hand = kept.then(AppName::by_hand);
    by_hand.or_else(|| state.index.names.of(&name).next_back().cloned())
}

/// A port that a balancer listens on cannot be an instance's on the same node.
fn ports(state: &State, spec: &AppSpec) -> Result<(), ApiError> {
    for (i, port) in spec.ports.iter().enumerate() {
        let mut hosts = port.host.into_iter().flat_map(PortSpan::each);
        let taken = hosts.find_map(|host| Some((host, listener(state, host)?)));
        if let Some((host, owner)) = taken {
            let by = match owner == AppName::by_hand() {
                true => "an upstream kept by hand, which listens on it".to_owned(),
                false => format!("app {owner}, whose service listens on it"),
            };
            return Err(refuse::port_taken(host, &by, &format!("ports[{i}].host")));
        }
    }
    for (i, service) in spec.service.iter().enumerate() {
        let Some(port) = service.listen else { continue };
        if let Some(by) = used_by(state, spec, port) {
            return Err(refuse::port_taken(
                port,
                &by,
                &format!("service[{i}].listen"),
            ));
        }
    }
    Ok(())
}

/// Whose host port it is: an instance's, or a spec's fixed one.
fn used_by(state: &State, spec: &AppSpec, port: u16) -> Option<String> {
    if has_fixed(spec, port) {
        return Some("this app's own fixed host port".to_owned());
    }
    used(state, port)
}

/// The same for whoever has no spec.
pub(super) fn used(state: &State, port: u16) -> Option<String> {
    let mut instances = state.index.ports.of(&port);
    if let Some(instance) = instances.find_map(|id| state.instances.get(id)) {
        return Some(format!("instance {} on {}", instance.id, instance.node));
    }
    let other = state.index.fixed.of(&port).next()?;
    Some(format!("app {other}, as a fixed host port"))
}

fn has_fixed(spec: &AppSpec, port: u16) -> bool {
    let mut spans = spec.ports.iter().filter_map(|p| p.host);
    spans.any(|span| span.meets(PortSpan::one(port)))
}
