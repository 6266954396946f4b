//! What owners want of an app.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::api::{ApiError, ApplyReply, PlanAction};
use hancock_proto::app::AppSpec;
use hancock_proto::event::Level;
use hancock_proto::ids::{AppName, DeploymentId, Version};
use hancock_proto::time::Timestamp;

use super::admission;
use super::deployments::request;
use super::step::{About, Step};
use crate::command::Reply;
use crate::refuse;
use crate::state::{App, AppVersion, Kind, Routes};

pub(super) fn apply_app(step: &mut Step<'_>, spec: &Arc<AppSpec>) -> Result<Reply, ApiError> {
    admission::check(step.state, spec)?;
    let name = &spec.app;
    let Ok(app) = alive(step, name) else {
        not_deleting(step, name)?;
        create(step, spec);
        return Ok(deploy(step, name, Version(1), Kind::Create));
    };
    let unchanged = app.wanted_spec().is_some_and(|w| **w == **spec);
    if unchanged && (app.stopped || admission::is_settled(step.state, &app)) {
        return Ok(nothing(step, &app));
    }
    let version = if unchanged {
        app.wanted
    } else {
        add_version(step, &app, spec)
    };
    Ok(bring(step, name, version, Kind::Replace))
}

pub(super) fn scale(step: &mut Step<'_>, name: &AppName, replicas: u32) -> Result<Reply, ApiError> {
    let app = alive(step, name)?;
    let spec = app
        .wanted_spec()
        .ok_or_else(|| refuse::app_not_found(name))?;
    let spec = AppSpec {
        replicas,
        ..(**spec).clone()
    };
    apply_app(step, &Arc::new(spec))
}

pub(super) fn restart(step: &mut Step<'_>, name: &AppName) -> Result<Reply, ApiError> {
    let app = alive(step, name)?;
    if app.stopped {
        return Err(refuse::stopped(name));
    }
    Ok(bring(step, name, app.wanted, Kind::Restart))
}

pub(super) fn stop(step: &mut Step<'_>, name: &AppName) -> Result<Reply, ApiError> {
    let app = alive(step, name)?;
    if app.stopped {
        return Ok(nothing(step, &app));
    }
    step.edit_app(name, |app| app.stopped = true);
    let about = About {
        app: Some(name),
        ..About::default()
    };
    step.event(
        Level::Info,
        "app_stopped",
        about,
        format!("app {name} is to stop"),
    );
    Ok(deploy(step, name, app.wanted, Kind::Stop))
}

pub(super) fn start(step: &mut Step<'_>, name: &AppName) -> Result<Reply, ApiError> {
    let app = alive(step, name)?;
    if !app.stopped && app.live.is_some() {
        return Ok(nothing(step, &app));
    }
    step.edit_app(name, |app| app.stopped = false);
    let about = About {
        app: Some(name),
        ..About::default()
    };
    step.event(
        Level::Info,
        "app_started",
        about,
        format!("app {name} is to start"),
    );
    Ok(deploy(step, name, app.wanted, Kind::Start))
}

pub(super) fn delete(step: &mut Step<'_>, name: &AppName) -> Result<Reply, ApiError> {
    let app = step.app(name)?;
    if app.deleting {
        return Ok(nothing(step, &app));
    }
    step.edit_app(name, |app| {
        app.stopped = true;
        app.deleting = true;
    });
    Ok(deploy(step, name, app.wanted, Kind::Delete))
}

pub(super) fn rollback(
    step: &mut Step<'_>,
    name: &AppName,
    version: Option<Version>,
) -> Result<Reply, ApiError> {
    let app = alive(step, name)?;
    let version = match version {
        Some(version) if app.versions.contains_key(&version) => version,
        Some(version) => return Err(refuse::version_not_found(name, version)),
        None => older_stable(&app).ok_or_else(|| refuse::nothing_stable(name))?,
    };
    if version == app.wanted && admission::is_settled(step.state, &app) {
        return Ok(nothing(step, &app));
    }
    // Hosts may have been given to another app since.
    if let Some(spec) = app.spec(version) {
        admission::check(step.state, spec)?;
    }
    Ok(bring(step, name, version, Kind::Replace))
}

fn older_stable(app: &App) -> Option<Version> {
    let older = app.versions.range(..app.wanted).rev();
    older.into_iter().find(|(_, v)| v.stable).map(|(v, _)| *v)
}

/// The app, unless it is on its way out.
fn alive(step: &Step<'_>, name: &AppName) -> Result<Arc<App>, ApiError> {
    let app = step.app(name)?;
    if app.deleting {
        return Err(deleting(name));
    }
    Ok(app)
}

fn not_deleting(step: &Step<'_>, name: &AppName) -> Result<(), ApiError> {
    match step.state.apps.get(name) {
        Some(_) => Err(deleting(name)),
        None => Ok(()),
    }
}

fn deleting(name: &AppName) -> ApiError {
    refuse::conflict(format!(
        "app {name} is being deleted; try again when it is gone"
    ))
}

fn create(step: &mut Step<'_>, spec: &Arc<AppSpec>) {
    let version = new_version(spec, step.at);
    let app = App {
        name: spec.app.clone(),
        versions: BTreeMap::from([(Version(1), version)]),
        wanted: Version(1),
        live: None,
        stopped: false,
        deleting: false,
        routes: Routes::default(),
        instances: BTreeSet::new(),
        active: Vec::new(),
        newest: None,
        heal_failures: 0,
        heal_after: Timestamp::default(),
        volumes: BTreeMap::new(),
        resting: None,
    };
    step.insert_app(app);
    applied(step, &spec.app, Version(1));
}

fn new_version(spec: &Arc<AppSpec>, at: Timestamp) -> AppVersion {
    AppVersion {
        spec: spec.clone(),
        at,
        stable: false,
        deployment: None,
        image_digest: None,
    }
}

fn add_version(step: &mut Step<'_>, app: &App, spec: &Arc<AppSpec>) -> Version {
    let newest = app.versions.keys().next_back().copied();
    let version = newest.unwrap_or_default().next();
    let stored = AppVersion {
        image_digest: kept_image(app, spec),
        ..new_version(spec, step.at)
    };
    step.edit_app(&app.name, |app| {
        app.versions.insert(version, stored);
    });
    applied(step, &app.name, version);
    version
}

/// Instances of a version that only adds to those of the live one are made of the same. Every other version asks anew.
fn kept_image(app: &App, spec: &AppSpec) -> Option<String> {
    let live = app.versions.get(&app.live?)?;
    match admission::action(Some(&live.spec), spec) {
        PlanAction::Nothing | PlanAction::Scale | PlanAction::Reroute => live.image_digest.clone(),
        _ => None,
    }
}

fn applied(step: &mut Step<'_>, name: &AppName, version: Version) {
    let about = About {
        app: Some(name),
        ..About::default()
    };
    let message = format!("app {name} has a version {version}");
    step.event(Level::Info, "app_applied", about, message);
}

/// Wants `version`; a stopped app stays stopped and takes it up when it starts.
fn bring(step: &mut Step<'_>, name: &AppName, version: Version, kind: Kind) -> Reply {
    step.edit_app(name, |app| app.wanted = version);
    let stopped = step.state.apps.get(name).is_some_and(|a| a.stopped);
    if stopped {
        return reply(step, name, version, None);
    }
    deploy(step, name, version, kind)
}

fn deploy(step: &mut Step<'_>, name: &AppName, version: Version, kind: Kind) -> Reply {
    let id = request(step, name, version, kind);
    reply(step, name, version, Some(id))
}

/// Nothing changes; a deployment that is under way is named, so that it can be waited for.
fn nothing(step: &Step<'_>, app: &App) -> Reply {
    reply(step, &app.name, app.wanted, app.active.last().copied())
}

fn reply(
    step: &Step<'_>,
    app: &AppName,
    version: Version,
    deployment: Option<DeploymentId>,
) -> Reply {
    Reply::Applied(ApplyReply {
        app: app.clone(),
        version,
        deployment,
        index: step.index,
    })
}
