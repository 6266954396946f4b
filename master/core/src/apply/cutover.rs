//! The acknowledged change of an app's routed set: published, confirmed, drained, stopped, settled.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::api::ApiError;
use hancock_proto::event::Level;
use hancock_proto::ids::{AppName, DocIndex, InstanceId, NodeId, Revision};

use super::deployments::{advance, end};
use super::kept;
use super::step::{About, Step};
use super::sweep;
use crate::acks::{self, settled_at};
use crate::command::{Evidence, Reply, StopCause};
use crate::refuse;
use crate::state::{
    App, Carry, Cutover, Elsewhere, Instance, Node, Phase, Stage, State, is_single_writer,
};

/// The routed set has changed by this command: the documents get its index. An app without services has nobody to tell.
pub(super) fn reroute(step: &mut Step<'_>, name: &AppName) {
    let doc = step.doc();
    let at = step.at;
    step.edit_app(name, |app| {
        app.routes.index = doc;
        for cutover in &mut app.routes.cutovers {
            cutover.past = cutover.drain_at.is_some();
        }
        let names = app.names();
        app.routes.names.extend(names);
        if app.routes.names.is_empty() {
            app.routes.published = doc;
            stamp(app, at);
        }
    });
}

/// Cutovers the registry holds by now are published.
fn stamp(app: &mut App, at: hancock_proto::time::Timestamp) {
    let published = app.routes.published;
    let held = app.routes.cutovers.iter_mut();
    for cutover in held.filter(|c| c.index <= published) {
        cutover.published_at.get_or_insert(at);
    }
}

/// The registry holds the documents of `index`.
pub(super) fn published(
    step: &mut Step<'_>,
    name: &AppName,
    index: DocIndex,
    revision: Revision,
    outside: Option<Elsewhere>,
) -> Result<Reply, ApiError> {
    if kept::reserved(name) {
        return kept::published(step, index, revision);
    }
    let app = step.app(name)?;
    if index > app.routes.index {
        return Err(refuse::outdated(format!("publish {name} at {index}")));
    }
    let at = step.at;
    let told_at = step.state.registry.revision();
    step.edit_app(name, |app| {
        if index >= app.routes.published {
            app.routes.published = index;
            app.routes.revision = revision;
            app.routes.outside = outside.or(app.routes.outside);
        }
        if index == app.routes.index {
            app.routes.names = app.names();
            // The embedded registry holds them too: that is where balancers are told from.
            for leaving in app.routes.leaving.values_mut() {
                leaving.told.get_or_insert(told_at);
            }
        }
        stamp(app, at);
    });
    Ok(Reply::Done)
}

/// Balancers have switched, or are given up on: the old instances may finish what is open.
pub(super) fn begin_drain(
    step: &mut Step<'_>,
    name: &AppName,
    index: DocIndex,
    evidence: &Evidence,
) -> Result<Reply, ApiError> {
    let app = step.app(name)?;
    let open = app.routes.cutover(index);
    let open = open.filter(|c| c.published_at.is_some() && c.drain_at.is_none());
    let allowed = |c: &&Cutover| {
        holds(step, &app, evidence, index)
            && step.at >= settled_at(step.state, &app, c)
            && (evidence.is_complete() || patient(step, &app, c))
    };
    let Some(cutover) = open.filter(allowed) else {
        return Err(refuse::outdated(format!("begin drain of {name}")));
    };
    let at = step.at;
    step.edit_app(name, |app| {
        let mut all = app.routes.cutovers.iter_mut();
        if let Some(cutover) = all.find(|c| c.index == index) {
            cutover.drain_at = Some(at);
            cutover.silent = evidence.silent.keys().cloned().collect();
        }
    });
    switched(step, cutover);
    Ok(Reply::Done)
}

/// The deployment behind a cutover goes on.
fn switched(step: &mut Step<'_>, cutover: &Cutover) {
    let deployment = cutover.deployment.and_then(|id| step.deployment(id).ok());
    let Some(d) = deployment.filter(|d| d.cutover == Some(cutover.index)) else {
        return;
    };
    let at = step.at;
    match d.phase {
        Phase::Promoting => {
            step.edit_deployment(d.id, |d| {
                d.phase = Phase::Draining;
                d.since = at;
                d.progress = at;
            });
            advance(step, &d.app);
        }
        // The old set serves again everywhere; the new one drains in the background.
        Phase::Failing if d.aborting => end(step, d.id, Phase::Aborted, d.reason.clone()),
        Phase::Failing => end(step, d.id, Phase::Failed, d.reason.clone()),
        _ => {}
    }
}

/// The evidence names every node that has to confirm, and confirmations are of the boots registered.
pub(super) fn holds(step: &Step<'_>, app: &App, evidence: &Evidence, index: DocIndex) -> bool {
    let carry = Carry::of(step.state, app);
    let concerned = |id: &NodeId, node: &Node| {
        app.routes.leaving.contains_key(id) || carry.any(&node.info.labels)
    };
    let mut nodes = step.state.nodes.iter();
    nodes.all(|(id, node)| {
        if !concerned(id, node) {
            return true;
        }
        let confirmed = evidence.confirmed.get(id);
        confirmed.is_some_and(|c| c.boot == node.boot && c.index >= index)
            || evidence.silent.contains_key(id)
    })
}

/// Those who did not confirm had their time.
fn patient(step: &Step<'_>, app: &App, cutover: &Cutover) -> bool {
    let timeout = acks::update(app).ack_timeout.duration();
    cutover
        .published_at
        .is_some_and(|at| step.at >= at + timeout)
}

/// Whether a cause may be true by what is replicated.
fn plausible(
    step: &Step<'_>,
    app: &App,
    cutover: &Cutover,
    id: &InstanceId,
    cause: StopCause,
) -> bool {
    let (Some(began), Some(instance)) = (cutover.drain_at, step.state.instances.get(id)) else {
        return false;
    };
    let stop = acks::stop(app, instance);
    match cause {
        StopCause::Drained => true,
        StopCause::DrainTimeout => step.at >= began + stop.drain_timeout.duration(),
        StopCause::SessionTimeout => step.at >= began + stop.session_drain_timeout.duration(),
        StopCause::Unconfirmed => patient(step, app, cutover),
    }
}

/// Retired instances may stop.
pub(super) fn stop_instances(
    step: &mut Step<'_>,
    name: &AppName,
    index: DocIndex,
    stops: &BTreeMap<InstanceId, StopCause>,
    evidence: &Evidence,
) -> Result<Reply, ApiError> {
    let app = step.app(name)?;
    let drained = app.routes.cutover(index).filter(|c| c.drain_at.is_some());
    let Some(cutover) = drained.filter(|_| holds(step, &app, evidence, index)) else {
        return Err(refuse::outdated(format!("stop instances of {name}")));
    };
    let leaving = |id: &InstanceId| {
        let known = step.state.instances.get(id);
        cutover.retiring.contains(id) && known.is_some_and(|i| i.stage == Stage::Leaving)
    };
    let proven = |cause: &StopCause| evidence.is_complete() || *cause == StopCause::Unconfirmed;
    let allowed = |(id, cause): (&InstanceId, &StopCause)| {
        leaving(id) && proven(cause) && plausible(step, &app, cutover, id, *cause)
    };
    if !stops.iter().all(allowed) {
        return Err(refuse::outdated(format!("stop instances of {name}")));
    }
    for (id, cause) in stops {
        step.end_instance(id);
        if *cause == StopCause::Unconfirmed {
            unconfirmed(step, name, id, evidence);
        }
    }
    stopping(step, cutover);
    Ok(Reply::Done)
}

fn unconfirmed(step: &mut Step<'_>, app: &AppName, id: &InstanceId, evidence: &Evidence) {
    let about = About {
        app: Some(app),
        instance: Some(id),
        ..About::default()
    };
    let message = format!("instance {id} stops without every confirmation: {evidence}");
    step.event(Level::Warning, "stopped_unconfirmed", about, message);
}

/// When the last old instance is told to stop, so says the deployment.
fn stopping(step: &mut Step<'_>, cutover: &Cutover) {
    let deployment = cutover.deployment.and_then(|id| step.deployment(id).ok());
    let Some(d) = deployment.filter(|d| d.phase == Phase::Draining) else {
        return;
    };
    let leaving = |id: &InstanceId| {
        let known = step.state.instances.get(id);
        known.is_some_and(|i| i.stage == Stage::Leaving && !i.is_over())
    };
    if !cutover.retiring.iter().any(leaving) {
        let at = step.at;
        step.edit_deployment(d.id, |d| {
            d.phase = Phase::Stopping;
            d.since = at;
            d.progress = at;
        });
    }
}

/// A cutover is over: documents stop speaking of added and retiring peers, and what has left may be removed.
pub(super) fn settle(
    step: &mut Step<'_>,
    name: &AppName,
    index: DocIndex,
    unreported: &BTreeSet<InstanceId>,
) -> Result<Reply, ApiError> {
    let app = step.app(name)?;
    let drained = app.routes.cutover(index).filter(|c| c.drain_at.is_some());
    let drained = drained.filter(|c| !c.moves);
    let Some(cutover) = drained.filter(|c| is_through(step, &app, c, unreported)) else {
        return Err(refuse::outdated(format!("settle cutover of {name}")));
    };
    step.edit_app(name, |app| {
        app.routes.cutovers.retain(|c| c.index != index);
        let empty = app.routes.serving.is_empty() && app.routes.cutovers.is_empty();
        // Nothing is left of an app that is deleted, or whose first deployment failed.
        let kept = app.live.or(app.resting).is_some();
        let nothing = app.deleting || (!kept && !app.stopped);
        app.routes.closed = empty && nothing;
    });
    if cutover.added.is_empty() && cutover.retiring.is_empty() && !step.app(name)?.routes.closed {
        return Ok(Reply::Done);
    }
    reroute(step, name);
    let doc = step.doc();
    for id in &cutover.retiring {
        step.edit_instance(id, |i| i.left = Some(doc));
        step.end_instance(id);
    }
    for id in unreported {
        sweep::remove(step, id);
    }
    Ok(Reply::Done)
}

/// Everybody on the way out has ended, or was told to and cannot say so.
fn is_through(
    step: &Step<'_>,
    app: &App,
    cutover: &Cutover,
    unreported: &BTreeSet<InstanceId>,
) -> bool {
    let given_up = |i: &Instance| {
        let told = i.stage == Stage::Ending && unreported.contains(&i.id);
        told && !must_report(step.state, app, i)
    };
    let gone = |id: &InstanceId| match step.state.instances.get(id) {
        None => true,
        Some(i) => i.is_over() || given_up(i),
    };
    unreported.is_subset(&cutover.retiring) && cutover.retiring.iter().all(gone)
}

/// Whether only its node can say that an instance has stopped: it may be writing to what is its own, and nothing stops it there without
/// masters. Who stops or deletes the app gives it up.
pub(crate) fn must_report(state: &State, app: &App, instance: &Instance) -> bool {
    let rules = app.spec(instance.rules);
    let stops = rules.is_some_and(|r| r.disconnect.is_some());
    is_single_writer(state, instance) && !stops && !app.stopped && !app.deleting
}
