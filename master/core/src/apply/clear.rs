//! The way is cleared for a deployment that starts nothing beside what runs: what runs leaves by a cutover of its own, acknowledged like any
//! other, and only when every node has said that it has stopped are places looked for.

use std::collections::BTreeSet;

use hancock_proto::api::ApiError;
use hancock_proto::event::Level;
use hancock_proto::ids::{AppName, DeploymentId, InstanceId};

use super::cutover::reroute;
use super::promote::MAX_GENERATIONS;
use super::step::{About, Step};
use crate::command::Reply;
use crate::refuse;
use crate::state::{
    App, Cutover, Deployment, Instance, Kind, Phase, Stage, State, is_single_writer,
};

/// How the way stands for instances that must not run beside those there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Somebody has not been told to go.
    Occupied,
    /// Somebody who was told may still run.
    Leaving,
    /// Everybody has stopped.
    Free,
}

/// How the way stands for an app.
pub(crate) fn way(state: &State, app: &App) -> Way {
    let any = |is: &dyn Fn(&Instance) -> bool| state.instances_of(app).any(|i| is(i));
    if any(&|i| matches!(i.stage, Stage::Starting | Stage::Live)) {
        Way::Occupied
    } else if any(&|i| may_run(state, i)) {
        Way::Leaving
    } else {
        Way::Free
    }
}

/// Whether an instance may still run, as far as anybody waits for that: of a lost node only the single writers are waited for.
pub(crate) fn may_run(state: &State, instance: &Instance) -> bool {
    !instance.is_over() && (is_single_writer(state, instance) || !state.is_lost(&instance.node))
}

/// Whether what runs has to be gone before a deployment starts anything.
pub(super) fn stops_first(app: &App, d: &Deployment, kind: Kind) -> bool {
    let whole = matches!(
        kind,
        Kind::Create | Kind::Replace | Kind::Restart | Kind::Start
    );
    whole && app.spec(d.version).is_some_and(|new| app.stops_before(new))
}

/// Takes a deployment in this phase one step further.
pub(super) fn clear(step: &mut Step<'_>, id: DeploymentId) -> Result<Reply, ApiError> {
    let d = step.deployment(id)?;
    let app = step.app(&d.app)?;
    let late = || refuse::outdated(format!("clear the way for deployment {id}"));
    if d.phase != Phase::Clearing {
        return Err(late());
    }
    match way(step.state, &app) {
        Way::Occupied if app.generations() < MAX_GENERATIONS => take_out(step, &app, &d),
        Way::Free => begin_placing(step, &app, &d),
        Way::Occupied | Way::Leaving => return Err(late()),
    }
    Ok(Reply::Deployment(id))
}

/// Everybody is on the way out, in one change of the documents; what was never routed stops at once.
fn take_out(step: &mut Step<'_>, app: &App, d: &Deployment) {
    let stage = |stage| {
        let members = step.state.instances_of(app);
        members.filter(move |i| i.stage == stage)
    };
    let ids = |i: &std::sync::Arc<Instance>| i.id.clone();
    let starting: Vec<_> = stage(Stage::Starting).map(ids).collect();
    let live: Vec<_> = stage(Stage::Live).map(ids).collect();
    let running = stage(Stage::Live).filter(|i| !i.is_over());
    let running: BTreeSet<InstanceId> = running.map(ids).collect();
    for id in &starting {
        step.end_instance(id);
    }
    retire(step, &live, &running);
    rest(step, &app.name);
    let (doc, at) = (step.doc(), step.at);
    if !live.is_empty() {
        step.edit_app(&app.name, |app| {
            app.routes.serving.clear();
            app.routes.cutovers.push(Cutover::begun(
                doc,
                Some(d.id),
                BTreeSet::new(),
                running.clone(),
            ));
        });
        reroute(step, &app.name);
    }
    tell(step, d, running.len());
    step.edit_deployment(d.id, |d| {
        d.cutover = (!live.is_empty()).then_some(doc);
        d.old = running;
        d.since = at;
        d.progress = at;
    });
}

fn retire(step: &mut Step<'_>, live: &[InstanceId], running: &BTreeSet<InstanceId>) {
    let doc = step.doc();
    for id in live {
        step.edit_instance(id, |i| i.left = Some(doc));
        match running.contains(id) {
            true => step.edit_instance(id, |i| i.stage = Stage::Leaving),
            false => step.end_instance(id),
        }
    }
}

/// Nothing of the app is kept alive; what was is remembered.
fn rest(step: &mut Step<'_>, name: &AppName) {
    step.edit_app(name, |app| {
        app.resting = app.live.or(app.resting);
        app.live = None;
    });
}

fn begin_placing(step: &mut Step<'_>, app: &App, d: &Deployment) {
    rest(step, &app.name);
    let at = step.at;
    step.edit_deployment(d.id, |d| {
        d.cutover = None;
        d.phase = Phase::Placing;
        d.since = at;
        d.progress = at;
    });
}

fn tell(step: &mut Step<'_>, d: &Deployment, count: usize) {
    let about = About {
        app: Some(&d.app),
        deployment: Some(d.id),
        ..About::default()
    };
    let message = format!(
        "deployment {} of {} stops what runs before it starts version {}, {count} instances out",
        d.id, d.app, d.version
    );
    step.event(Level::Info, "deployment_clearing", about, message);
}

/// What a deployment took out comes back when nothing came in its place, as healing brings it.
pub(super) fn bring_back(step: &mut Step<'_>, d: &Deployment) {
    let Ok(app) = step.app(&d.app) else { return };
    let Some(version) = app.resting.filter(|_| app.live.is_none() && !app.stopped) else {
        return;
    };
    step.edit_app(&d.app, |app| app.live = Some(version));
    let about = About {
        app: Some(&d.app),
        deployment: Some(d.id),
        ..About::default()
    };
    let message = format!("version {version} of {} is started again", d.app);
    step.event(Level::Warning, "app_brought_back", about, message);
}
