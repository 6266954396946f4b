//! What must hold after every command. Tests and the simulator run it after each step.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::app::Volume;
use hancock_proto::app::writers::{clash, spoken};
use hancock_proto::assignment::PortBinding;
use hancock_proto::ids::NodeId;
use hancock_proto::time::Timestamp;

use crate::desired;
use crate::leader::LeaderView;
use crate::plan;
use crate::state::{App, Index, Instance, Kind, Phase, Stage, State, written};

/// Everything that is wrong with a state; empty when it is sound.
pub fn check(state: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    for app in state.apps.values() {
        membership(state, app, &mut wrong);
        routes(state, app, &mut wrong);
        generations(state, app, &mut wrong);
    }
    instances(state, &mut wrong);
    assignments(state, &mut wrong);
    if state.index != Index::derive(state) {
        wrong.push("the index is not what follows from the state".to_owned());
    }
    ports(state, &mut wrong);
    writers(state, &mut wrong);
    wrong
}

/// Everything that is wrong with a leader's turn.
pub fn check_turn(state: &State, view: &LeaderView, now: Timestamp) -> Vec<String> {
    let passed = plan::passed_over(state, view, now).into_iter();
    passed
        .map(|app| format!("a turn passes over {app} and has something to do for it"))
        .collect()
}

/// The app's set of instances is exactly those that say so.
fn membership(state: &State, app: &App, wrong: &mut Vec<String>) {
    let theirs = state.instances.values().filter(|i| i.app == app.name);
    let theirs: BTreeSet<_> = theirs.map(|i| i.id.clone()).collect();
    if theirs != app.instances {
        wrong.push(format!("{} does not know its instances", app.name));
    }
}

/// Documents speak of known instances only, of none twice, and are empty only on demand.
fn routes(state: &State, app: &App, wrong: &mut Vec<String>) {
    let name = &app.name;
    for id in &app.routes.serving {
        match state.instances.get(id).map(|i| i.stage) {
            Some(Stage::Live) => {}
            stage => wrong.push(format!("{name} routes to {id}, which is {stage:?}")),
        }
        let known = state.instances.get(id);
        if known.is_some_and(|i| desired::is_other_image(state, i)) {
            wrong.push(format!("{name} routes to {id}, which is of another image"));
        }
    }
    for id in app.routes.retiring() {
        if app.routes.serving.contains(id) {
            wrong.push(format!("{name} both routes to and retires {id}"));
        }
        if !state.instances.contains_key(id) {
            wrong.push(format!("{name} retires {id}, which is gone"));
        }
    }
    let wanted = app.live_spec().map_or(0, |s| s.replicas);
    // Unless what ran was stopped before anything starts.
    if wanted > 0 && app.routes.serving.is_empty() && app.resting.is_none() {
        wrong.push(format!("{name} is live and routes to nobody"));
    }
    let moving = app.routes.cutovers.iter().filter(|c| c.moves).count();
    if moving > 1 || (moving == 0) != app.routes.staying.is_empty() {
        wrong.push(format!("{name} stays in zones by {moving} cutovers"));
    }
    if app.routes.published > app.routes.index {
        wrong.push(format!("{name} has published what it has not decided"));
    }
}

/// At most two generations leave at a time, and one more when the app ends, one deployment switches, one waits.
fn generations(state: &State, app: &App, wrong: &mut Vec<String>) {
    let name = &app.name;
    if app.generations() > crate::apply::most_generations(Kind::Stop) {
        wrong.push(format!(
            "{name} has {} generations leaving",
            app.generations()
        ));
    }
    let blocking = state.active_of(app).filter(|d| d.phase.blocks()).count();
    let queued = state
        .active_of(app)
        .filter(|d| d.phase == Phase::Queued)
        .count();
    if blocking > 1 || queued > 1 || (blocking == 0 && queued > 0) {
        wrong.push(format!(
            "{name} has {blocking} deployments under way and {queued} queued"
        ));
    }
    if app
        .active
        .iter()
        .any(|id| !state.deployments.contains_key(id))
    {
        wrong.push(format!("{name} lost a deployment"));
    }
}

/// Nobody is told to stop while the documents route to it; versions in use are kept.
fn instances(state: &State, wrong: &mut Vec<String>) {
    for instance in state.instances.values() {
        let Some(app) = state.apps.get(&instance.app) else {
            wrong.push(format!("{} has no app", instance.id));
            continue;
        };
        let routed = app.routes.serving.contains(&instance.id);
        if instance.stage == Stage::Ending && routed {
            wrong.push(format!("{} is told to stop and routed to", instance.id));
        }
        if instance.stage == Stage::Leaving && app.leaving(&instance.id).is_none() {
            wrong.push(format!("{} leaves by no cutover", instance.id));
        }
        if instance.stage == Stage::Live && !routed {
            wrong.push(format!("{} is live and not routed to", instance.id));
        }
        if app.spec(instance.version).is_none() || app.spec(instance.rules).is_none() {
            wrong.push(format!("{} lost its spec", instance.id));
        }
    }
}

/// What is maintained is what would be derived.
fn assignments(state: &State, wrong: &mut Vec<String>) {
    let mut derived = desired::derive_assigned(state);
    for (id, node) in &state.nodes {
        if node.assigned != derived.remove(id).unwrap_or_default() {
            wrong.push(format!(
                "assignment of {id} is not what follows from the state"
            ));
        }
    }
}

/// No host port is given to two instances of a node.
fn ports(state: &State, wrong: &mut Vec<String>) {
    let mut seen = BTreeMap::new();
    for instance in state.instances.values() {
        let hosts = instance.ports.iter().flat_map(PortBinding::hosts);
        // One instance may have a port over TCP and UDP.
        for port in hosts.collect::<BTreeSet<_>>() {
            if let Some(other) = seen.insert((&instance.node, port), &instance.id) {
                wrong.push(format!(
                    "{other} and {} share port {} of {}",
                    instance.id, port, instance.node
                ));
            }
        }
    }
}

/// Who has a volume to itself shares it with nobody who may run on the node.
fn writers(state: &State, wrong: &mut Vec<String>) {
    let mut there: BTreeMap<&NodeId, Vec<(&Instance, &[Volume])>> = BTreeMap::new();
    for instance in state.instances.values() {
        let Some(volumes) = written(state, instance) else {
            continue;
        };
        let others = there.entry(&instance.node).or_default();
        for (other, theirs) in &*others {
            if let Some(volume) = clash((&instance.app, volumes), (&other.app, theirs)) {
                wrong.push(format!(
                    "{} and {} may write to {} of {}",
                    other.id,
                    instance.id,
                    spoken(volume),
                    instance.node
                ));
            }
        }
        others.push((instance, volumes));
    }
}
