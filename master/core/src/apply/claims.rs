//! Names and ports that apps claim. Each has one owner: a host or listen port is one app's, and no instance gets a host port that balancers
//! listen on.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::api::ApiError;
use hancock_proto::app::{AppSpec, PortSpan, Problem};
use hancock_proto::ids::AppName;
use hancock_proto::service::{ServiceKind, ServiceName};

use crate::refuse;
use crate::state::{App, Instance, State};

/// Refuses a spec that claims what is another's.
pub(super) fn check(state: &State, spec: &AppSpec) -> Result<(), ApiError> {
    names(state, spec)?;
    ports(state, spec)
}

/// Two apps claiming one host or listen port are refused here, so that every name has one writer.
fn names(state: &State, spec: &AppSpec) -> Result<(), ApiError> {
    let wanted = spec.names();
    let mut first: Option<(ServiceName, AppName)> = None;
    let mut problems = Vec::new();
    for other in state.apps.values().filter(|a| a.name != spec.app) {
        for name in claimed(state, other).intersection(&wanted) {
            problems.push(Problem {
                path: "service".to_owned(),
                message: format!("{} belongs to app {}", spoken(name), other.name),
            });
            first.get_or_insert((name.clone(), other.name.clone()));
        }
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
    let mut apps = state.apps.values();
    let app = apps.find(|app| claimed(state, app).contains(name))?;
    Some(app.name.clone())
}

/// Every name an app has, had a moment ago, or is about to have.
fn claimed(state: &State, app: &App) -> BTreeSet<ServiceName> {
    let names = specs(state, app).flat_map(AppSpec::names);
    names.chain(app.routes.names.iter().cloned()).collect()
}

/// Every spec an app runs by, did a moment ago, or is about to.
pub(super) fn specs<'a>(state: &'a State, app: &'a App) -> impl Iterator<Item = &'a AppSpec> {
    let now = [app.wanted_spec(), app.live_spec(), app.routed_spec()];
    let coming = state.active_of(app).filter_map(|d| app.spec(d.version));
    now.into_iter().flatten().chain(coming).map(|spec| &**spec)
}

/// Ports balancers listen on, or are about to, with their apps.
pub(crate) fn listens(state: &State) -> BTreeMap<u16, AppName> {
    let mut all = BTreeMap::new();
    for app in state.apps.values() {
        for name in claimed(state, app) {
            if let ServiceKind::Tcp(port) = name.kind() {
                all.insert(port, app.name.clone());
            }
        }
    }
    for name in state.kept.upstreams.keys() {
        if let ServiceKind::Tcp(port) = name.kind() {
            all.insert(port, AppName::by_hand());
        }
    }
    all
}

/// A port that a balancer listens on cannot be an instance's on the same node.
fn ports(state: &State, spec: &AppSpec) -> Result<(), ApiError> {
    let listens = listens(state);
    for (i, port) in spec.ports.iter().enumerate() {
        let mut hosts = port.host.into_iter().flat_map(PortSpan::each);
        let taken = hosts.find_map(|host| Some((host, listens.get(&host)?)));
        if let Some((host, owner)) = taken {
            let by = match *owner == AppName::by_hand() {
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
    let mut instances = state.instances.values();
    let has = |i: &Instance| i.ports.iter().any(|p| p.hosts().any(|host| host == port));
    if let Some(instance) = instances.find(|i| has(i)) {
        return Some(format!("instance {} on {}", instance.id, instance.node));
    }
    let mut apps = state.apps.values();
    let other = apps.find(|app| specs(state, app).any(|spec| has_fixed(spec, port)))?;
    Some(format!("app {}, as a fixed host port", other.name))
}

fn has_fixed(spec: &AppSpec, port: u16) -> bool {
    let mut spans = spec.ports.iter().filter_map(|p| p.host);
    spans.any(|span| span.meets(PortSpan::one(port)))
}
