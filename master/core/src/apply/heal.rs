//! Keeps the routed set of a live app whole: replacements in, dead ones out, surplus away.

use std::collections::BTreeSet;
use std::time::Duration;

use hancock_proto::api::{ApiError, ApplyReply};
use hancock_proto::app::Strategy;
use hancock_proto::event::Level;
use hancock_proto::ids::{AppName, InstanceId};

use super::cutover::reroute;
use super::promote::MAX_GENERATIONS;
use super::step::{About, Step};
use crate::command::Reply;
use crate::desired::is_ready;
use crate::refuse;
use crate::state::{App, Cutover, Instance, Origin, Phase, Stage, State};

/// Longest pause between replacements.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What healing would change. Computed the same way when planned and when applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Replacements that join.
    pub(crate) join: BTreeSet<InstanceId>,
    /// Ended instances that leave at once: nothing can be sent to them.
    pub(crate) drop: BTreeSet<InstanceId>,
    /// Instances too many, on lost nodes first: they leave by a cutover.
    pub(crate) retire: BTreeSet<InstanceId>,
}

impl Effect {
    /// Whether nothing would change.
    pub(crate) fn is_empty(&self) -> bool {
        self.join.is_empty() && self.drop.is_empty() && self.retire.is_empty()
    }
}

/// What bringing the app in line would do.
pub(crate) fn effect(state: &State, app: &App, ready: &BTreeSet<InstanceId>) -> Effect {
    let Some(spec) = app.live_spec() else {
        return Effect::default();
    };
    let switching = state
        .active_of(app)
        .any(|d| matches!(d.phase, Phase::Promoting | Phase::Failing));
    let join = if switching {
        BTreeSet::new()
    } else {
        ready.clone()
    };
    let idle = !state.active_of(app).any(|d| d.phase.blocks());
    let retire = if idle && app.generations() < MAX_GENERATIONS {
        surplus(state, app, &join, spec.replicas)
    } else {
        BTreeSet::new()
    };
    let live = state.instances_of(app).filter(|i| i.stage == Stage::Live);
    let (dead, alive): (Vec<_>, Vec<_>) = live.partition(|i| i.is_over());
    let remain =
        spec.replicas == 0 || alive.iter().any(|i| !retire.contains(&i.id)) || !join.is_empty();
    // Never an empty document because of failures: the last ones stay until somebody replaces them.
    let drop = if remain {
        dead.iter().map(|i| i.id.clone()).collect()
    } else {
        BTreeSet::new()
    };
    Effect { join, drop, retire }
}

/// Live instances beyond `wanted`, counting `joining` as live: those on lost nodes first, then those to be replaced, then those not ready,
/// then the newest.
pub(crate) fn surplus(
    state: &State,
    app: &App,
    joining: &BTreeSet<InstanceId>,
    wanted: u32,
) -> BTreeSet<InstanceId> {
    let live = state
        .instances_of(app)
        .filter(|i| i.stage == Stage::Live && !i.is_over() && !joining.contains(&i.id));
    let mut live: Vec<_> = live.collect();
    let excess = (live.len() + joining.len()).saturating_sub(wanted as usize);
    live.sort_by_key(|i| {
        let crowded = crowd(state, app, i);
        (
            !state.is_lost(&i.node),
            !i.replace,
            is_ready(state, i),
            std::cmp::Reverse(crowded),
            std::cmp::Reverse((i.placed_at, i.id.clone())),
        )
    });
    live.into_iter()
        .take(excess)
        .map(|i| i.id.clone())
        .collect()
}

/// How many of the app's live instances share the node.
fn crowd(state: &State, app: &App, instance: &Instance) -> usize {
    state
        .instances_of(app)
        .filter(|i| i.stage == Stage::Live && i.node == instance.node)
        .count()
}

/// Another one comes in an instance's place. It is asked for in vain when that is under way.
pub(super) fn replace(step: &mut Step<'_>, id: &InstanceId) -> Result<Reply, ApiError> {
    let instance = step.state.instances.get(id).cloned();
    let instance = instance.ok_or_else(|| refuse::instance_not_found(id))?;
    let rules = step.app(&instance.app)?.spec(instance.rules).cloned();
    let alone = rules.is_some_and(|r| r.update.strategy == Strategy::Recreate);
    let why = match instance.stage {
        _ if alone => Some(
            "its app starts nothing beside what runs; `hancock app restart` stops and starts all of it",
        ),
        _ if instance.is_over() => Some("it has ended, and another one comes in its place anyway"),
        Stage::Live => None,
        Stage::Starting => Some("it is on its way in; abort what brings it, or wait"),
        Stage::Leaving | Stage::Ending => Some("it is on its way out"),
    };
    if let Some(why) = why {
        return Err(refuse::conflict(format!(
            "instance {id} is not replaced: {why}"
        )));
    }
    if !instance.replace {
        step.edit_instance(id, |i| i.replace = true);
        let about = About {
            app: Some(&instance.app),
            instance: Some(id),
            node: Some(&instance.node),
            ..About::default()
        };
        let message = format!("instance {id} is to be replaced; it serves until then");
        step.event(Level::Info, "instance_replaced", about, message);
    }
    Ok(Reply::Applied(ApplyReply {
        app: instance.app.clone(),
        version: instance.version,
        deployment: None,
        index: step.index,
    }))
}

pub(super) fn heal(
    step: &mut Step<'_>,
    name: &AppName,
    join: &BTreeSet<InstanceId>,
) -> Result<Reply, ApiError> {
    let app = step.app(name)?;
    let able = |id: &InstanceId| {
        let known = step.state.instances.get(id);
        known.is_some_and(|i| is_replacement(&app, i) && is_ready(step.state, i))
    };
    let effect = effect(step.state, &app, join);
    if effect.is_empty() || effect.join != *join || !join.iter().all(able) {
        return Err(refuse::outdated(format!("heal {name}")));
    }
    carry_out(step, &app, &effect);
    Ok(Reply::Done)
}

/// A replacement on its way up for what is live now.
pub(crate) fn is_replacement(app: &App, instance: &Instance) -> bool {
    instance.app == app.name
        && instance.stage == Stage::Starting
        && instance.origin == Origin::Healing
}

fn carry_out(step: &mut Step<'_>, app: &App, effect: &Effect) {
    let doc = step.doc();
    for id in &effect.join {
        step.edit_instance(id, |i| {
            i.stage = Stage::Live;
            i.joined = doc;
        });
    }
    for id in &effect.retire {
        step.edit_instance(id, |i| {
            i.stage = Stage::Leaving;
            i.left = Some(doc);
        });
    }
    for id in &effect.drop {
        step.edit_instance(id, |i| i.left = Some(doc));
        step.end_instance(id);
    }
    step.edit_app(&app.name, |app| {
        app.routes.serving.extend(effect.join.iter().cloned());
        app.routes
            .serving
            .retain(|i| !effect.drop.contains(i) && !effect.retire.contains(i));
        if !effect.join.is_empty() {
            app.heal_failures = 0;
            app.resting = None;
        }
        if !effect.join.is_empty() || !effect.retire.is_empty() {
            app.routes.cutovers.push(Cutover::begun(
                doc,
                None,
                effect.join.clone(),
                effect.retire.clone(),
            ));
        }
    });
    reroute(step, &app.name);
}

/// Replacements came to nothing; the next ones wait a little longer each time.
pub(super) fn discard(
    step: &mut Step<'_>,
    name: &AppName,
    instances: &BTreeSet<InstanceId>,
) -> Result<Reply, ApiError> {
    let app = step.app(name)?;
    let mine = |id: &InstanceId| {
        let known = step.state.instances.get(id);
        known.is_some_and(|i| is_replacement(&app, i))
    };
    if !instances.iter().all(mine) {
        return Err(refuse::outdated(format!("discard replacements of {name}")));
    }
    // Only those that had their chance count; one whose node was lost, or that is not needed any more, did nothing wrong.
    let deadline = app
        .live_spec()
        .map(|s| s.update.healthy_deadline.duration());
    let at = step.at;
    let guilty = instances.iter().any(|id| {
        let known = step.state.instances.get(id);
        known
            .is_some_and(|i| i.has_failed() || deadline.is_some_and(|d| at.since(i.placed_at) >= d))
    });
    for id in instances {
        step.end_instance(id);
    }
    if guilty {
        step.edit_app(name, |app| {
            app.heal_after = at + pause(app.heal_failures);
            app.heal_failures = app.heal_failures.saturating_add(1);
        });
    }
    Ok(Reply::Done)
}

/// They are asked once; their nodes count it like any other restart, and give up on what will not come up.
pub(super) fn restart_ailing(
    step: &mut Step<'_>,
    name: &AppName,
    instances: &BTreeSet<InstanceId>,
) -> Result<Reply, ApiError> {
    let ailing = |id: &InstanceId| {
        let known = step.state.instances.get(id);
        known.is_some_and(|i| i.app == *name && i.stage == Stage::Live && i.is_ailing())
    };
    if !instances.iter().all(ailing) {
        return Err(refuse::outdated(format!("restart instances of {name}")));
    }
    for id in instances {
        step.edit_instance(id, |i| {
            i.restarts_asked = i.restarts_asked.saturating_add(1);
            i.asked_after = Some(i.facts.restarts);
        });
    }
    Ok(Reply::Done)
}

/// After the first failure at once, then 1 s, 2 s, 4 s… up to a minute.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 1).min(6)).min(MAX_PAUSE),
    }
}
