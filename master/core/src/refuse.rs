//! Refusals: a stable code, and a sentence with the way out.

use std::collections::BTreeSet;
use std::fmt::Display;

use hancock_proto::api::ApiError;
use hancock_proto::app::Problem;
use hancock_proto::ids::{AppName, DeploymentId, InstanceId, ZoneName};
use hancock_proto::service::{ServiceKind, ServiceName};

use crate::apply::{Users, spoken};

fn error(code: &str, message: String) -> ApiError {
    ApiError {
        code: code.to_owned(),
        message,
        problems: Vec::new(),
    }
}

/// There is no such app.
pub(crate) fn app_not_found(app: &AppName) -> ApiError {
    error(
        "app_not_found",
        format!("there is no app {app}; `hancock app list` shows those there are"),
    )
}

/// The app runs no jobs.
pub(crate) fn no_task(app: &AppName) -> ApiError {
    error(
        "no_task",
        format!(
            "app {app} is no task; `hancock exec {app} -- …` runs a command in one of its instances"
        ),
    )
}

/// The app runs nothing.
pub(crate) fn stopped(app: &AppName) -> ApiError {
    conflict(format!(
        "app {app} is stopped; `hancock app start {app}` brings it back"
    ))
}

/// There is no such instance.
pub(crate) fn instance_not_found(instance: &InstanceId) -> ApiError {
    error(
        "instance_not_found",
        format!("there is no instance {instance}; `hancock ps` shows those there are"),
    )
}

/// There is no such zone.
pub(crate) fn zone_not_found(zone: &ZoneName) -> ApiError {
    error(
        "zone_not_found",
        format!("there is no zone {zone}; `hancock zone list` shows those there are"),
    )
}

/// A zone that services use stays as it is; each kind of user has its way out.
pub(crate) fn zone_in_use(zone: &ZoneName, users: &Users) -> ApiError {
    let mut told = Vec::new();
    if let Some(first) = users.apps.first() {
        let apps = listed(&users.apps);
        told.push(format!(
            "app {apps}: give its services another zone, or delete it with `hancock app delete {first}`"
        ));
    }
    if let Some(first) = users.kept.first() {
        let kept = listed(&users.kept);
        told.push(format!(
            "upstream {kept}: delete it with `hancock zone delete-upstream {zone} {first}`"
        ));
    }
    if !users.leaving.is_empty() {
        let leaving = listed(&users.leaving);
        told.push(format!(
            "upstream {leaving}, which is deleted and not yet out of the registry: try again in a moment; `hancock registry show` tells what it waits for"
        ));
    }
    error(
        "zone_in_use",
        format!("zone {zone} is used by {}", told.join("; by ")),
    )
}

/// The first few names.
fn listed<T: Display>(names: &BTreeSet<T>) -> String {
    const TOLD: usize = 5;
    let first: Vec<String> = names.iter().take(TOLD).map(ToString::to_string).collect();
    let first = first.join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// There is no such upstream kept by hand.
pub(crate) fn upstream_not_found(zone: &ZoneName, name: &ServiceName) -> ApiError {
    error(
        "upstream_not_found",
        format!(
            "zone {zone} keeps no upstream {name}; `hancock zone upstreams {zone}` shows those there are"
        ),
    )
}

/// There is no such deployment.
pub(crate) fn deployment_not_found(id: impl Display) -> ApiError {
    error(
        "deployment_not_found",
        format!("there is no deployment {id}; `hancock app show APP` names the newest one"),
    )
}

/// An app was never deployed.
pub(crate) fn never_deployed(app: &AppName) -> ApiError {
    error(
        "deployment_not_found",
        format!("app {app} has no deployment yet; `hancock app start {app}` begins one"),
    )
}

/// The state does not allow it just now.
pub(crate) fn conflict(message: String) -> ApiError {
    error("conflict", message)
}

/// The leader's step was planned on an older state.
pub(crate) fn outdated(what: impl Display) -> ApiError {
    error("outdated", format!("{what}: the state has moved on"))
}

/// A host or listen port belongs to another app.
pub(crate) fn name_taken(name: &ServiceName, owner: &AppName, problems: Vec<Problem>) -> ApiError {
    let (code, what) = match name.kind() {
        ServiceKind::Http(_) => ("host_taken", "host"),
        ServiceKind::Tcp(_) => ("port_taken", "port"),
    };
    let name = spoken(name);
    let message = match *owner == AppName::by_hand() {
        true => format!("{name} is kept by hand; choose another {what} or delete the upstream"),
        false => format!("{name} belongs to app {owner}; choose another {what} or delete {owner}"),
    };
    ApiError {
        problems,
        ..error(code, message)
    }
}

/// A port is wanted for a service and for an instance.
pub(crate) fn port_taken(port: u16, by: &str, path: &str) -> ApiError {
    let message = format!("port {port} is taken by {by}; choose another");
    ApiError {
        problems: vec![Problem {
            path: path.to_owned(),
            message: message.clone(),
        }],
        ..error("port_taken", message)
    }
}

/// A spec that cannot be honoured.
pub(crate) fn invalid_spec(app: &AppName, problems: Vec<Problem>) -> ApiError {
    let first = problems.first().map_or("", |p| p.message.as_str());
    ApiError {
        problems: problems.clone(),
        ..error("invalid_spec", format!("spec of {app} is refused: {first}"))
    }
}

/// A version that is not kept.
pub(crate) fn version_not_found(app: &AppName, version: impl Display) -> ApiError {
    error(
        "version_not_found",
        format!(
            "app {app} has no version {version}; `hancock app history {app}` shows those there are"
        ),
    )
}

/// Nothing to go back to.
pub(crate) fn nothing_stable(app: &AppName) -> ApiError {
    error(
        "version_not_found",
        format!(
            "app {app} has no older version that was deployed successfully; name one with --version"
        ),
    )
}

/// The deployment cannot be touched any more.
pub(crate) fn too_late(id: DeploymentId, phase: &str) -> ApiError {
    conflict(format!(
        "deployment {id} is {phase} and cannot be aborted; use `hancock app rollback`"
    ))
}
