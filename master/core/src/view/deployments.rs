//! Deployments.

use std::collections::BTreeSet;

use hancock_proto::api::{ApiError, DeploymentView, InstanceView};
use hancock_proto::ids::{AppName, DeploymentId, InstanceId};

use super::waiting::{deadline, explain};
use super::{Context, instances};
use crate::refuse;
use crate::state::{Deployment, Phase, Stage};

/// One deployment.
///
/// # Errors
/// `deployment_not_found`.
pub fn deployment(ctx: Context<'_>, id: DeploymentId) -> Result<DeploymentView, ApiError> {
    let known = ctx.state.deployments.get(&id);
    let deployment = known.ok_or_else(|| refuse::deployment_not_found(id))?;
    Ok(render(ctx, deployment))
}

/// The app's newest deployment.
///
/// # Errors
/// `app_not_found`, or `deployment_not_found` when it never had one.
pub fn newest_deployment(ctx: Context<'_>, name: &AppName) -> Result<DeploymentView, ApiError> {
    let known = ctx.state.apps.get(name);
    let app = known.ok_or_else(|| refuse::app_not_found(name))?;
    let id = app.newest.ok_or_else(|| refuse::never_deployed(name))?;
    deployment(ctx, id)
}

/// A deployment as it stands.
pub(super) fn render(ctx: Context<'_>, d: &Deployment) -> DeploymentView {
    DeploymentView {
        id: d.id,
        app: d.app.clone(),
        version: d.version,
        phase: d.phase.word().to_owned(),
        done: d.phase.is_over(),
        ok: d.phase == Phase::Successful,
        reason: if d.phase.is_over() {
            d.reason.clone()
        } else {
            explain(ctx, d)
        },
        started: d.started,
        ended: d.ended,
        deadline: deadline(ctx, d),
        new: list(ctx, &d.new),
        old: list(ctx, &old(ctx, d)),
        index: d.changed,
    }
}

fn list(ctx: Context<'_>, ids: &BTreeSet<InstanceId>) -> Vec<InstanceView> {
    ids.iter()
        .filter_map(|id| instances::one(ctx, id))
        .collect()
}

/// Who it replaces; before the promotion, who it is about to.
fn old(ctx: Context<'_>, d: &Deployment) -> BTreeSet<InstanceId> {
    use crate::state::Kind;
    let replaces = !matches!(d.kind, Kind::Scale | Kind::Reroute);
    let app = ctx.state.apps.get(&d.app);
    match app.filter(|_| d.phase.before_promotion() && replaces) {
        Some(app) => {
            let live = ctx.state.instances_of(app);
            let live = live.filter(|i| i.stage == Stage::Live);
            let live = live.map(|i| i.id.clone());
            live.chain(d.old.iter().cloned()).collect()
        }
        None => d.old.clone(),
    }
}
