//! Whether a spec is let in, and what kind of change it is.

use std::collections::BTreeSet;

use hancock_proto::api::{ApiError, PlanAction};
use hancock_proto::app::{AppSpec, Problem};
use hancock_proto::registry::MAX_BATCH;

use super::{claims, kept};
use crate::refuse;
use crate::state::{App, Phase, State};

/// Checks what only the cluster can know, and what applying relies on.
pub(crate) fn check(state: &State, spec: &AppSpec) -> Result<(), ApiError> {
    let problems = problems(state, spec);
    if !problems.is_empty() {
        return Err(refuse::invalid_spec(&spec.app, problems));
    }
    claims::check(state, spec)
}

fn problems(state: &State, spec: &AppSpec) -> Vec<Problem> {
    let mut problems = ports(spec);
    problems.extend(zones(state, spec));
    if kept::reserved(&spec.app) {
        problems.push(Problem {
            path: "app".to_owned(),
            message: format!(
                "{} stands for upstreams kept by hand; choose another name",
                spec.app
            ),
        });
    }
    let (mut seen, mut listens) = (BTreeSet::new(), BTreeSet::new());
    for (i, service) in spec.service.iter().enumerate() {
        for (j, host) in service.hosts.iter().enumerate() {
            if !seen.insert(host) {
                problems.push(Problem {
                    path: format!("service[{i}].hosts[{j}]"),
                    message: format!("host {host} is listed twice"),
                });
            }
        }
        if service.listen.is_some_and(|port| !listens.insert(port)) {
            problems.push(Problem {
                path: format!("service[{i}].listen"),
                message: "another service of the app listens on the same port".to_owned(),
            });
        }
    }
    let held = state.apps.get(&spec.app).map(|a| &a.routes.names);
    let wanted = spec.names();
    let names = wanted.len() + held.map_or(0, |n| n.difference(&wanted).count());
    if names > MAX_BATCH {
        problems.push(Problem {
            path: "service".to_owned(),
            message: format!(
                "{names} hosts and listen ports, old and new, are more than {MAX_BATCH}; split them over two apps"
            ),
        });
    }
    problems
}

/// Zones named by services exist.
fn zones(state: &State, spec: &AppSpec) -> Vec<Problem> {
    let services = spec.service.iter().enumerate();
    let unknown = services.filter(|(_, s)| state.zone(&s.zone).is_none());
    unknown
        .map(|(i, s)| Problem {
            path: format!("service[{i}].zone"),
            message: refuse::zone_not_found(&s.zone).message,
        })
        .collect()
}

/// Ports named by service and healthcheck exist.
fn ports(spec: &AppSpec) -> Vec<Problem> {
    let services = spec.service.iter().enumerate();
    let named = services.map(|(i, s)| (format!("service[{i}].port"), &s.port));
    let check = spec.healthcheck.iter().filter_map(|c| c.port.as_ref());
    named
        .chain(check.map(|port| ("healthcheck.port".to_owned(), port)))
        .filter(|(_, port)| spec.port(port).is_none())
        .map(|(path, port)| Problem {
            path,
            message: format!("there is no port {port} in ports"),
        })
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
        && a.task.map(|task| task.reuse) == b.task.map(|task| task.reuse)
        && a.image == b.image
        && a.pull_policy == b.pull_policy
        && a.command == b.command
        && a.workdir == b.workdir
        && a.user == b.user
        && a.environment == b.environment
        && a.labels == b.labels
        && a.resources == b.resources
        && a.limits.can_become(&b.limits)
        && a.ports == b.ports
        && a.volumes == b.volumes
        && a.files == b.files
        && a.container == b.container
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
