//! Deployments begin, end and follow each other.

use std::collections::BTreeSet;

use hancock_proto::api::{ApiError, PlanAction};
use hancock_proto::event::Level;
use hancock_proto::ids::{AppName, DeploymentId, InstanceId, Version};
use hancock_proto::report::Life;

use super::admission;
use super::clear::{bring_back, stops_first};
use super::promote;
use super::step::{About, Step};
use super::sweep;
use crate::command::Reply;
use crate::refuse;
use crate::state::{App, Deployment, Kind, Phase, Stage};

/// A new deployment; those not yet promoted are superseded by it, one that is gets time to begin its drain.
pub(super) fn request(
    step: &mut Step<'_>,
    name: &AppName,
    version: Version,
    kind: Kind,
) -> DeploymentId {
    step.state.last_deployment += 1;
    let id = DeploymentId(step.state.last_deployment);
    let queued = queued(step, id, name, version, kind);
    step.insert_deployment(queued);
    supersede(step, name, id);
    step.edit_app(name, |app| {
        app.active.push(id);
        app.newest = Some(id);
        if let Some(v) = app.versions.get_mut(&version) {
            v.deployment = Some(id);
        }
    });
    advance(step, name);
    id
}

fn queued(
    step: &Step<'_>,
    id: DeploymentId,
    name: &AppName,
    version: Version,
    kind: Kind,
) -> Deployment {
    Deployment {
        id,
        app: name.clone(),
        version,
        from: None,
        kind,
        phase: Phase::Queued,
        since: step.at,
        started: step.at,
        progress: step.at,
        ended: None,
        brings: 0,
        rejected: 0,
        new: BTreeSet::new(),
        old: BTreeSet::new(),
        cutover: None,
        aborting: false,
        reason: String::new(),
        changed: step.index,
    }
}

fn supersede(step: &mut Step<'_>, name: &AppName, by: DeploymentId) {
    let Ok(app) = step.app(name) else { return };
    let early = step.state.active_of(&app);
    let early: Vec<_> = early
        .filter(|d| d.phase.before_promotion())
        .map(|d| d.id)
        .collect();
    for id in early {
        let reason = format!("superseded by deployment {by}");
        end(step, id, Phase::Superseded, reason);
    }
}

/// Starts the queued deployment when nothing blocks it.
pub(super) fn advance(step: &mut Step<'_>, name: &AppName) {
    let Ok(app) = step.app(name) else { return };
    if step.state.active_of(&app).any(|d| d.phase.blocks()) {
        return;
    }
    let queued = step
        .state
        .active_of(&app)
        .find(|d| d.phase == Phase::Queued)
        .cloned();
    let Some(next) = queued else { return };
    let kind = classify(&app, &next);
    let brings = brings(&app, &next, kind);
    let clears = stops_first(&app, &next, kind);
    let at = step.at;
    step.edit_deployment(next.id, |d| {
        d.kind = kind;
        d.from = app.live.or(app.resting);
        d.brings = brings;
        d.phase = match brings {
            0 => Phase::Starting,
            _ if clears => Phase::Clearing,
            _ => Phase::Placing,
        };
        d.since = at;
        d.progress = at;
    });
    let about = About {
        app: Some(name),
        deployment: Some(next.id),
        ..About::default()
    };
    let message = format!(
        "deployment {} of {name} version {} has begun",
        next.id, next.version
    );
    step.event(Level::Info, "deployment_started", about, message);
}

/// What a spec's deployment does depends on what serves when its turn comes.
fn classify(app: &App, next: &Deployment) -> Kind {
    let fixed = match next.kind {
        Kind::Restart | Kind::Stop | Kind::Delete => true,
        // Started again before the stop got anywhere: nothing to bring back.
        Kind::Start => app.live.is_none(),
        Kind::Create | Kind::Replace | Kind::Scale | Kind::Reroute => false,
    };
    if fixed {
        return next.kind;
    }
    let Some(spec) = app.spec(next.version) else {
        return Kind::Reroute;
    };
    match admission::action(app.live_spec().map(|s| &**s), spec) {
        PlanAction::Create => Kind::Create,
        PlanAction::Replace => Kind::Replace,
        PlanAction::Scale => Kind::Scale,
        PlanAction::Reroute | PlanAction::Nothing => Kind::Reroute,
    }
}

fn brings(app: &App, next: &Deployment, kind: Kind) -> u32 {
    let wanted = app.spec(next.version).map_or(0, |s| s.replicas);
    let have = app.live_spec().map_or(0, |s| s.replicas);
    match kind {
        Kind::Create | Kind::Replace | Kind::Restart | Kind::Start => wanted,
        // Replicas that are missing at the moment are healing's business.
        Kind::Scale => wanted.saturating_sub(have),
        Kind::Reroute | Kind::Stop | Kind::Delete => 0,
    }
}

/// A deployment went well.
pub(super) fn finish(
    step: &mut Step<'_>,
    id: DeploymentId,
    holding: &BTreeSet<InstanceId>,
    lingering: &BTreeSet<InstanceId>,
) -> Result<Reply, ApiError> {
    let d = step.deployment(id)?;
    if !matches!(d.phase, Phase::Draining | Phase::Stopping) {
        return Err(refuse::outdated(format!("finish deployment {id}")));
    }
    // A deleted app cannot keep instances behind it.
    if d.kind == Kind::Delete && !(holding.is_empty() && lingering.is_empty()) {
        return Err(refuse::outdated(format!("finish deployment {id}")));
    }
    let open = d.old.iter().filter(|old| {
        let known = step.state.instances.get(*old);
        known.is_some_and(|i| i.stage == Stage::Leaving && !i.is_over())
            && !holding.contains(*old)
            && !lingering.contains(*old)
    });
    if open.count() > 0 {
        return Err(refuse::outdated(format!("finish deployment {id}")));
    }
    stable(step, &d);
    end(step, id, Phase::Successful, praise(&d, holding, lingering));
    if d.kind == Kind::Delete {
        forget(step, &d.app);
    }
    Ok(Reply::Deployment(id))
}

fn stable(step: &mut Step<'_>, d: &Deployment) {
    if !d.kind.is_end() {
        step.edit_app(&d.app, |app| {
            if let Some(version) = app.versions.get_mut(&d.version) {
                version.stable = true;
            }
        });
    }
}

fn praise(
    d: &Deployment,
    holding: &BTreeSet<InstanceId>,
    lingering: &BTreeSet<InstanceId>,
) -> String {
    let mut parts = Vec::new();
    if !holding.is_empty() {
        parts.push(format!("holding: {}", count(holding.len())));
    }
    if !lingering.is_empty() {
        parts.push(format!("lingering: {}", count(lingering.len())));
    }
    let done = match d.kind {
        Kind::Stop => "stopped".to_owned(),
        Kind::Delete => "deleted".to_owned(),
        _ => format!("version {} serves", d.version),
    };
    if parts.is_empty() {
        done
    } else {
        format!("{done}, {}", parts.join(", "))
    }
}

fn count(instances: usize) -> String {
    let plural = if instances == 1 { "" } else { "s" };
    format!("{instances} instance{plural}")
}

/// A deleted app leaves; its deployments stay readable.
fn forget(step: &mut Step<'_>, name: &AppName) {
    let Ok(app) = step.app(name) else { return };
    for id in app.instances.iter() {
        sweep::remove(step, id);
    }
    step.remove_app(name);
    let about = About {
        app: Some(name),
        ..About::default()
    };
    step.event(
        Level::Info,
        "app_deleted",
        about,
        format!("app {name} is deleted"),
    );
}

/// A deployment did not go well: undone at once before its promotion, by one write after it.
pub(super) fn fail(step: &mut Step<'_>, id: DeploymentId, reason: &str) -> Result<Reply, ApiError> {
    let d = step.deployment(id)?;
    if d.phase.before_promotion() {
        end(step, id, Phase::Failed, reason.to_owned());
        return Ok(Reply::Deployment(id));
    }
    if d.phase != Phase::Promoting || !promote::can_go_back(step.state, &*step.app(&d.app)?, &d) {
        return Err(refuse::outdated(format!("fail deployment {id}")));
    }
    promote::revert(step, &d, reason, false);
    Ok(Reply::Deployment(id))
}

/// Nodes rejected some of its instances: they go, and the deployment looks for places again.
pub(super) fn place_again(
    step: &mut Step<'_>,
    id: DeploymentId,
    instances: &BTreeSet<InstanceId>,
) -> Result<Reply, ApiError> {
    let d = step.deployment(id)?;
    let rejected = |i: &InstanceId| {
        let known = step.state.instances.get(i);
        d.new.contains(i) && known.is_some_and(|i| i.facts.life == Life::Rejected)
    };
    if !d.phase.before_promotion() || !instances.iter().all(rejected) {
        return Err(refuse::outdated(format!(
            "place instances of deployment {id} again"
        )));
    }
    for instance in instances {
        step.end_instance(instance);
    }
    let at = step.at;
    step.edit_deployment(id, |d| {
        d.new.retain(|i| !instances.contains(i));
        d.rejected = d
            .rejected
            .saturating_add(u32::try_from(instances.len()).unwrap_or(u32::MAX));
        d.phase = Phase::Placing;
        d.since = at;
    });
    Ok(Reply::Deployment(id))
}

/// An owner does not want it any more.
pub(super) fn abort(step: &mut Step<'_>, id: DeploymentId) -> Result<Reply, ApiError> {
    let d = step.deployment(id)?;
    let irrevocable = d.kind.is_end();
    if d.phase == Phase::Clearing && nobody_drains(step, &d) {
        promote::revert(step, &d, "aborted on demand", true);
    } else if d.phase.before_promotion() && !irrevocable {
        end(step, id, Phase::Aborted, "aborted on demand".to_owned());
    } else if d.phase == Phase::Promoting && !irrevocable {
        if !promote::can_go_back(step.state, &*step.app(&d.app)?, &d) {
            return Err(refuse::conflict(format!(
                "deployment {id} cannot be aborted: nothing that served before it runs any more"
            )));
        }
        promote::revert(step, &d, "aborted on demand", true);
    } else {
        return Err(refuse::too_late(id, d.phase.word()));
    }
    Ok(Reply::Deployment(id))
}

/// Whether who is on the way out by it can simply stay.
fn nobody_drains(step: &Step<'_>, d: &Deployment) -> bool {
    let app = step.state.apps.get(&d.app);
    let cutover = app.and_then(|app| app.routes.cutover(d.cutover?));
    cutover.is_some_and(|c| c.drain_at.is_none())
}

/// Ends a deployment; instances it brought and that were never routed go with it, unless it went well.
pub(super) fn end(step: &mut Step<'_>, id: DeploymentId, phase: Phase, reason: String) {
    let Ok(d) = step.deployment(id) else { return };
    for instance in &d.new {
        let known = step.state.instances.get(instance);
        if known.is_some_and(|i| i.stage == Stage::Starting) {
            step.end_instance(instance);
        }
    }
    let at = step.at;
    step.edit_app(&d.app, |app| app.active.retain(|a| *a != id));
    let (level, kind) = match phase {
        Phase::Failed => (Level::Error, "deployment_failed"),
        Phase::Aborted => (Level::Warning, "deployment_aborted"),
        Phase::Superseded => (Level::Info, "deployment_superseded"),
        _ => (Level::Info, "deployment_successful"),
    };
    let about = About {
        app: Some(&d.app),
        deployment: Some(id),
        ..About::default()
    };
    let message = format!("deployment {id} of {}: {reason}", d.app);
    step.event(level, kind, about, message);
    step.edit_deployment(id, |d| {
        d.phase = phase;
        d.since = at;
        d.ended = Some(at);
        d.reason = reason;
    });
    if matches!(phase, Phase::Failed | Phase::Aborted) {
        bring_back(step, &d);
    }
    advance(step, &d.app);
}
