//! Whether a spec is let in, and what kind of change it is.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::api::{ApiError, PlanAction};
use hancock_proto::app::{AppSpec, Problem};
use hancock_proto::ids::AppName;
use hancock_proto::registry::MAX_BATCH;

use crate::refuse;
use crate::state::{App, Phase, State};

/// Checks what only the cluster can know, and what applying relies on.
pub(crate) fn check(state: &State, spec: &AppSpec) -> Result<(), ApiError> {
    let problems = problems(state, spec);
    if !problems.is_empty() {
        return Err(refuse::invalid_spec(&spec.app, problems));
    }
    taken(state, spec)
}

fn problems(state: &State, spec: &AppSpec) -> Vec<Problem> {
    let mut problems = ports(spec);
    let mut seen = BTreeSet::new();
    for (i, service) in spec.service.iter().enumerate() {
        for (j, host) in service.hosts.iter().enumerate() {
            if !seen.insert(host) {
                problems.push(Problem {
                    path: format!("service[{i}].hosts[{j}]"),
                    message: format!("host {host} is listed twice"),
                });
            }
        }
    }
    let held = state.apps.get(&spec.app).map(|a| &a.routes.names);
    let names = spec.hosts().len() + held.map_or(0, |n| n.difference(&owned(spec)).count());
    if names > MAX_BATCH {
        problems.push(Problem {
            path: "service".to_owned(),
            message: format!(
                "{names} hosts old and new are more than {MAX_BATCH}; split them over two apps"
            ),
        });
    }
    problems
}

/// Ports named by service and healthcheck exist.
fn ports(spec: &AppSpec) -> Vec<Problem> {
    let services = spec.service.iter().enumerate();
    let named = services.map(|(i, s)| (format!("service[{i}].port"), &s.port));
    let check = spec.healthcheck.iter();
    named
        .chain(check.map(|c| ("healthcheck.port".to_owned(), &c.port)))
        .filter(|(_, port)| spec.port(port).is_none())
        .map(|(path, port)| Problem {
            path,
            message: format!("there is no port {port} in ports"),
        })
        .collect()
}

fn owned(spec: &AppSpec) -> BTreeSet<String> {
    spec.hosts().into_iter().map(str::to_owned).collect()
}

/// Two apps claiming one host are refused here, so that every name has one writer.
fn taken(state: &State, spec: &AppSpec) -> Result<(), ApiError> {
    let wanted = spec.hosts();
    let mut first: Option<(String, AppName)> = None;
    let mut problems = Vec::new();
    for other in state.apps.values().filter(|a| a.name != spec.app) {
        for host in claimed(state, other).into_keys() {
            if wanted.contains(host.as_str()) {
                problems.push(Problem {
                    path: "service".to_owned(),
                    message: format!("host {host} belongs to app {}", other.name),
                });
                first.get_or_insert((host, other.name.clone()));
            }
        }
    }
    match first {
        Some((host, owner)) => Err(refuse::host_taken(&host, &owner, problems)),
        None => Ok(()),
    }
}

/// Every host an app has, had a moment ago, or is about to have.
fn claimed(state: &State, app: &App) -> BTreeMap<String, ()> {
    let specs = [app.wanted_spec(), app.live_spec(), app.routed_spec()];
    let coming = state.active_of(app).filter_map(|d| app.spec(d.version));
    let hosts = specs.into_iter().flatten().chain(coming);
    let named = hosts.flat_map(|s| owned(s));
    named
        .chain(app.routes.names.iter().cloned())
        .map(|host| (host, ()))
        .collect()
}

/// What kind of change leads from what serves to `new`.
pub(crate) fn action(live: Option<&AppSpec>, new: &AppSpec) -> PlanAction {
    match live {
        None => PlanAction::Create,
        Some(live) if live == new => PlanAction::Nothing,
        Some(live) if !same_run(live, new) => PlanAction::Replace,
        Some(live) if live.replicas != new.replicas => PlanAction::Scale,
        Some(_) => PlanAction::Reroute,
    }
}

/// Whether an instance of `a` is as good as one of `b`.
fn same_run(a: &AppSpec, b: &AppSpec) -> bool {
    a.kind == b.kind
        && a.image == b.image
        && a.command == b.command
        && a.workdir == b.workdir
        && a.user == b.user
        && a.environment == b.environment
        && a.labels == b.labels
        && a.resources == b.resources
        && a.ports == b.ports
        && a.volumes == b.volumes
}

/// Whether the wanted version is where it should be or on its way: applying it again changes nothing.
pub(super) fn is_settled(state: &State, app: &App) -> bool {
    let version = app.versions.get(&app.wanted);
    let newest = version.and_then(|v| v.deployment);
    let phase = newest
        .and_then(|id| state.deployments.get(&id))
        .map(|d| d.phase);
    !matches!(
        phase,
        Some(Phase::Failed | Phase::Aborted | Phase::Superseded)
    ) || app.live == Some(app.wanted)
}
