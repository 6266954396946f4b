//! The switch, and the way back.

use std::collections::BTreeSet;

use hancock_proto::api::ApiError;
use hancock_proto::event::Level;
use hancock_proto::ids::{AppName, DeploymentId, InstanceId};

use super::cutover::reroute;
use super::heal::surplus;
use super::step::{About, Step};
use super::zones::{part, stay};
use crate::command::Reply;
use crate::desired::is_ready;
use crate::refuse;
use crate::state::{App, Carry, Cutover, Deployment, Instance, Kind, Origin, Phase, Stage, State};

/// Most generations on their way out at the same time, but for [`most_generations`].
pub(crate) const MAX_GENERATIONS: usize = 2;

/// Before a deployment of that kind is promoted there are fewer on their way out. An end may be one more: no balancer can refuse it, so it also
/// gets those out that somebody would keep for ever.
pub(crate) fn most_generations(kind: Kind) -> usize {
    match kind.is_end() {
        true => MAX_GENERATIONS + 1,
        false => MAX_GENERATIONS,
    }
}

/// Routes to a deployment's instances: one change of the documents, old and new together.
pub(super) fn promote(step: &mut Step<'_>, id: DeploymentId) -> Result<Reply, ApiError> {
    let d = step.deployment(id)?;
    let app = step.app(&d.app)?;
    let late = || refuse::outdated(format!("promote deployment {id}"));
    if d.phase != Phase::Starting || app.generations() >= most_generations(d.kind) {
        return Err(late());
    }
    let ready = |i: &InstanceId| {
        let known = step.state.instances.get(i);
        known.is_some_and(|i| is_ready(step.state, i))
    };
    if d.new.len() < d.brings as usize || !d.new.iter().all(ready) {
        return Err(late());
    }
    let old = replaced(step, &app, &d);
    switch(step, &app, &d, &old);
    let at = step.at;
    let doc = step.doc();
    step.edit_deployment(id, |d| {
        d.old.extend(old);
        d.cutover = Some(doc);
        d.phase = Phase::Promoting;
        d.since = at;
        d.progress = at;
    });
    announce(step, &d.app, id, &d);
    Ok(Reply::Deployment(id))
}

/// Who goes when `d` is promoted.
fn replaced(step: &Step<'_>, app: &App, d: &Deployment) -> BTreeSet<InstanceId> {
    let live = step
        .state
        .instances_of(app)
        .filter(|i| i.stage == Stage::Live);
    match d.kind {
        Kind::Create | Kind::Replace | Kind::Restart | Kind::Start | Kind::Stop | Kind::Delete => {
            live.map(|i| i.id.clone()).collect()
        }
        Kind::Scale => {
            let wanted = app.spec(d.version).map_or(0, |s| s.replicas);
            surplus(step.state, app, &d.new, wanted)
        }
        Kind::Reroute => BTreeSet::new(),
    }
}

fn switch(step: &mut Step<'_>, app: &App, d: &Deployment, old: &BTreeSet<InstanceId>) {
    let keeps = matches!(d.kind, Kind::Scale | Kind::Reroute);
    let members: Vec<_> = step.state.instances_of(app).cloned().collect();
    for instance in members {
        rank(step, &instance, d, old, keeps);
    }
    let running: BTreeSet<_> = old
        .iter()
        .filter(|i| step.state.instances.get(*i).is_some_and(|i| !i.is_over()))
        .cloned()
        .collect();
    let doc = step.doc();
    let before = app.carried();
    let carried = Carry::of(step.state, app);
    step.edit_app(&app.name, |app| {
        app.live = (!d.kind.is_end()).then_some(d.version);
        app.routes.version = d.version;
        app.routes.closed = false;
        app.routes.serving.retain(|i| !old.contains(i));
        app.routes.serving.extend(d.new.iter().cloned());
        // New rules for what was stopped first and is only on its way back: nobody serves before it is there.
        app.resting = app
            .resting
            .filter(|_| keeps && app.routes.serving.is_empty());
        app.heal_failures = 0;
        app.routes
            .cutovers
            .push(Cutover::begun(doc, Some(d.id), d.new.clone(), running));
        stay(app, before);
    });
    part(step, &app.name, &carried, true);
    reroute(step, &app.name);
}

/// What becomes of one instance of the app.
fn rank(
    step: &mut Step<'_>,
    instance: &Instance,
    d: &Deployment,
    old: &BTreeSet<InstanceId>,
    keeps: bool,
) {
    let doc = step.doc();
    let id = &instance.id;
    let stale = instance.stage == Stage::Starting && instance.origin == Origin::Healing && !keeps;
    if d.new.contains(id) {
        step.edit_instance(id, |i| {
            i.stage = Stage::Live;
            i.joined = doc;
        });
    } else if old.contains(id) && !instance.is_over() {
        step.edit_instance(id, |i| {
            i.stage = Stage::Leaving;
            // Corrected when the cutover settles: until then documents speak of it.
            i.left = Some(doc);
        });
    } else if old.contains(id) || stale {
        step.edit_instance(id, |i| i.left = Some(doc));
        step.end_instance(id);
    } else if matches!(instance.stage, Stage::Starting | Stage::Live) {
        step.edit_instance(id, |i| i.rules = d.version);
    }
}

fn announce(step: &mut Step<'_>, app: &AppName, id: DeploymentId, d: &Deployment) {
    let about = About {
        app: Some(app),
        deployment: Some(id),
        ..About::default()
    };
    let message = format!(
        "deployment {id} of {app} switches to version {}, {} instances in",
        d.version,
        d.new.len()
    );
    step.event(Level::Info, "deployment_promoted", about, message);
}

/// Whether there is something to go back to: a set that died before the switch is worse than one that some balancer cannot reach.
pub(crate) fn can_go_back(state: &State, app: &App, d: &Deployment) -> bool {
    let wanted = d.from.and_then(|v| app.spec(v)).map_or(0, |s| s.replicas);
    let cutover = d.cutover.and_then(|index| app.routes.cutover(index));
    let kept = app.routes.serving.iter().filter(|i| !d.new.contains(i));
    let old = cutover.into_iter().flat_map(|c| &c.retiring);
    let mut back = kept.chain(old);
    let runs = |id: &InstanceId| state.instances.get(id).is_some_and(|i| !i.is_over());
    wanted == 0 || back.any(runs)
}

/// Back to what served before, in one change: the old ones never stopped.
pub(super) fn revert(step: &mut Step<'_>, d: &Deployment, reason: &str, aborting: bool) {
    let Some(old) = withdraw(step, d) else { return };
    restore(step, d, &old);
    reroute(step, &d.app);
    let at = step.at;
    let doc = step.doc();
    step.edit_deployment(d.id, |d| {
        d.phase = Phase::Failing;
        d.since = at;
        d.cutover = Some(doc);
        d.aborting = aborting;
        d.reason = reason.to_owned();
    });
}

/// Takes the deployment's cutover back; who was on the way out by it.
fn withdraw(step: &mut Step<'_>, d: &Deployment) -> Option<BTreeSet<InstanceId>> {
    let app = step.app(&d.app).ok()?;
    let cutover = app.routes.cutover(d.cutover?)?.clone();
    let doc = step.doc();
    let out: BTreeSet<_> = d
        .new
        .iter()
        .filter(|i| step.state.instances.get(*i).is_some_and(|i| !i.is_over()))
        .cloned()
        .collect();
    let carried = Carry::of(step.state, &app);
    step.edit_app(&d.app, |app| {
        let before = app.carried();
        app.live = d.from;
        app.resting = None;
        app.routes.version = d.from.unwrap_or(app.routes.version);
        app.routes.serving.retain(|i| !d.new.contains(i));
        app.routes.serving.extend(cutover.retiring.iter().cloned());
        app.routes.cutovers.retain(|c| c.index != cutover.index);
        app.routes
            .cutovers
            .push(Cutover::begun(doc, Some(d.id), BTreeSet::new(), out));
        stay(app, before);
    });
    part(step, &d.app, &carried, true);
    Some(cutover.retiring)
}

fn restore(step: &mut Step<'_>, d: &Deployment, old: &BTreeSet<InstanceId>) {
    let doc = step.doc();
    for id in old {
        step.edit_instance(id, |i| {
            i.stage = Stage::Live;
            i.left = None;
        });
    }
    for id in &d.new {
        let over = step.state.instances.get(id).is_some_and(|i| i.is_over());
        step.edit_instance(id, |i| {
            i.stage = Stage::Leaving;
            i.left = Some(doc);
        });
        if over {
            step.end_instance(id);
        }
    }
    let Some(from) = d.from else { return };
    let Ok(app) = step.app(&d.app) else { return };
    let kept = step.state.instances_of(&app);
    let kept: Vec<_> = kept
        .filter(|i| i.rules == d.version && i.version != d.version && i.stage == Stage::Live)
        .map(|i| i.id.clone())
        .collect();
    for id in kept {
        step.edit_instance(&id, |i| i.rules = from);
    }
}
