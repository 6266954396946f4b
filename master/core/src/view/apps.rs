//! Apps and their versions.

use hancock_proto::api::{ApiError, AppDetail, AppSummary, VersionInfo};
use hancock_proto::ids::{AppName, DeploymentId, Version};
use sha2::{Digest, Sha256};

use super::{Context, deployments, instances};
use crate::desired::is_ready;
use crate::refuse;
use crate::state::{App, AppVersion, State};

/// One line per app.
pub fn apps(state: &State) -> Vec<AppSummary> {
    state.apps.values().map(|app| summary(state, app)).collect()
}

fn summary(state: &State, app: &App) -> AppSummary {
    let spec = app.wanted_spec();
    let hosts = spec.map(|s| s.hosts().into_iter().map(str::to_owned).collect());
    AppSummary {
        app: app.name.clone(),
        version: app.wanted,
        stopped: app.stopped,
        replicas: spec.map_or(0, |s| s.replicas),
        serving: serving(state, app),
        deployment: phase(state, app.newest),
        hosts: hosts.unwrap_or_default(),
        listens: spec.map_or_else(Vec::new, |s| s.listens().into_iter().collect()),
    }
}

fn serving(state: &State, app: &App) -> u32 {
    let routed = app.routes.serving.iter();
    let ready = routed.filter(|id| {
        let known = state.instances.get(*id);
        known.is_some_and(|i| is_ready(state, i) && app.routes.published >= i.joined)
    });
    u32::try_from(ready.count()).unwrap_or(u32::MAX)
}

fn phase(state: &State, id: Option<DeploymentId>) -> Option<String> {
    let deployment = state.deployments.get(&id?)?;
    Some(deployment.phase.word().to_owned())
}

/// Everything about one app.
///
/// # Errors
/// `app_not_found`.
pub fn app(ctx: Context<'_>, name: &AppName) -> Result<AppDetail, ApiError> {
    let known = ctx.state.apps.get(name);
    let app = known.ok_or_else(|| refuse::app_not_found(name))?;
    let spec = app
        .wanted_spec()
        .ok_or_else(|| refuse::app_not_found(name))?;
    let newest = app.newest.and_then(|id| ctx.state.deployments.get(&id));
    let wanted = app.versions.get(&app.wanted);
    Ok(AppDetail {
        summary: summary(ctx.state, app),
        spec: (**spec).clone(),
        instances: instances(ctx, Some(name)),
        image_digest: wanted.and_then(|v| v.image_digest.clone()),
        deployment: newest.map(|d| deployments::render(ctx, d)),
        published: app.routes.published,
    })
}

/// The app's versions, newest first.
///
/// # Errors
/// `app_not_found`.
pub fn history(state: &State, name: &AppName) -> Result<Vec<VersionInfo>, ApiError> {
    let known = state.apps.get(name);
    let app = known.ok_or_else(|| refuse::app_not_found(name))?;
    let versions = app.versions.iter().rev();
    Ok(versions
        .map(|(v, stored)| info(state, *v, stored))
        .collect())
}

fn info(state: &State, version: Version, stored: &AppVersion) -> VersionInfo {
    VersionInfo {
        version,
        at: stored.at,
        image: stored.spec.image.clone(),
        image_digest: stored.image_digest.clone(),
        deployment: phase(state, stored.deployment),
        stable: stored.stable,
        digest: digest(&stored.spec.canonical()),
    }
}

/// The first 12 hex digits of a text's SHA-256.
fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(6).map(|b| format!("{b:02x}")).collect()
}
