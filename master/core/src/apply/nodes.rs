//! The cluster, its terms, its nodes and what they report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::api::ApiError;
use hancock_proto::event::Level;
use hancock_proto::ids::{
    BootId, ClusterId, DeploymentId, Generation, InstanceId, NodeId, Revision, Term,
};
use hancock_proto::report::{InstanceReport, Life};
use hancock_proto::resources::NodeInfo;

use super::step::{About, Step};
use super::{pin, zones};
use crate::command::{MasterDeed, Reply};
use crate::desired::is_ready;
use crate::refuse;
use crate::state::{
    Assigned, Instance, Node, NodeState, Origin, Phase, Stage, State, is_single_writer,
};

pub(super) fn init(step: &mut Step<'_>, cluster: &ClusterId) -> Result<Reply, ApiError> {
    if let Some(have) = &step.state.cluster {
        return Err(refuse::conflict(format!("this is cluster {have} already")));
    }
    step.state.cluster = Some(cluster.clone());
    Ok(Reply::Done)
}

pub(super) fn term_started(
    step: &mut Step<'_>,
    term: Term,
    leader: &str,
) -> Result<Reply, ApiError> {
    if term < step.state.term {
        return Err(refuse::outdated(format!("term {term}")));
    }
    step.state.term = term;
    step.state.leader = Some(leader.to_owned());
    Ok(Reply::Done)
}

/// Told to everybody, and remembered with its key; who the masters are is the log's own business.
pub(super) fn ask_master(
    step: &mut Step<'_>,
    deed: MasterDeed,
    name: &str,
) -> Result<Reply, ApiError> {
    let message = format!("master {name} was asked to {}", deed.word());
    step.event(Level::Info, "master_asked", About::default(), message);
    Ok(Reply::Noted(step.state.term))
}

pub(super) fn register(
    step: &mut Step<'_>,
    info: &NodeInfo,
    boot: &BootId,
) -> Result<Reply, ApiError> {
    let at = step.at;
    let id = &info.node;
    if let Some(node) = step.state.nodes.get_mut(id) {
        let node = Arc::make_mut(node);
        if node.boot != *boot {
            node.sequence = 0;
        }
        let former = std::mem::replace(&mut node.info, info.clone());
        node.boot = boot.clone();
        zones::relabelled(step, id, &former.labels);
        if former.capacity != info.capacity {
            tell_overfull(step, id);
        }
        return found(step, id);
    }
    let node = Node {
        info: info.clone(),
        boot: boot.clone(),
        sequence: 0,
        state: NodeState::Alive,
        joined: at,
        generation: Generation(0),
        assigned: Assigned::new(),
        zoned: Revision(0),
        released: BTreeMap::new(),
    };
    step.state.nodes.insert(id.clone(), Arc::new(node));
    joined(step, id, "has joined");
    Ok(Reply::Done)
}

/// A node may come back with less than its instances have: that is told, and nothing of it is stopped.
fn tell_overfull(step: &mut Step<'_>, id: &NodeId) {
    let Some(node) = step.state.nodes.get(id) else {
        return;
    };
    let (there, used) = (&node.info.capacity, node.used());
    let cpu = used.cpu > u64::from(there.cpu.as_millicores());
    let memory = used.memory > there.memory.as_bytes();
    let what = match (cpu, memory) {
        (false, false) => return,
        (true, false) => "processor time",
        (false, true) => "memory",
        (true, true) => "processor time and memory",
    };
    let about = About {
        node: Some(id),
        ..About::default()
    };
    let message = format!(
        "node {id} has less {what} than its instances have reserved; nothing of it is stopped"
    );
    step.event(Level::Warning, "node_overfull", about, message);
}

fn joined(step: &mut Step<'_>, id: &NodeId, how: &str) {
    let about = About {
        node: Some(id),
        ..About::default()
    };
    step.event(
        Level::Info,
        "node_joined",
        about,
        format!("node {id} {how}"),
    );
}

pub(super) fn found(step: &mut Step<'_>, id: &NodeId) -> Result<Reply, ApiError> {
    if step.state.is_lost(id) {
        step.set_node_state(id, NodeState::Alive)?;
        joined(step, id, "is back");
    }
    Ok(Reply::Done)
}

/// Replacements may be placed. The published list stays as it is: the node may still serve clients.
pub(super) fn lost(step: &mut Step<'_>, id: &NodeId) -> Result<Reply, ApiError> {
    if step.state.is_lost(id) {
        return Err(refuse::outdated(format!("lose node {id}")));
    }
    step.set_node_state(id, NodeState::Lost)?;
    let about = About {
        node: Some(id),
        ..About::default()
    };
    let message = format!("node {id} is lost, its instances are replaced");
    step.event(Level::Warning, "node_lost", about, message);
    replace_starting(step, id);
    Ok(Reply::Done)
}

/// Deployments look for another place for what they were starting there.
fn replace_starting(step: &mut Step<'_>, node: &NodeId) {
    for (id, stranded) in starting(step.state, node) {
        for instance in &stranded {
            step.end_instance(instance);
        }
        step.edit_deployment(id, |d| {
            d.new.retain(|id| !stranded.contains(id));
            d.phase = Phase::Placing;
        });
    }
}

/// Whether it must not run twice: its node stops it without contact, or what it writes to is its own.
fn is_alone(state: &State, instance: &Instance) -> bool {
    let app = state.apps.get(&instance.app);
    let rules = app.and_then(|a| a.spec(instance.rules));
    rules.is_some_and(|r| r.disconnect.is_some()) || is_single_writer(state, instance)
}

/// Instances on a node that deployments have brought and not promoted.
fn starting(state: &State, node: &NodeId) -> BTreeMap<DeploymentId, BTreeSet<InstanceId>> {
    let mut starting: BTreeMap<DeploymentId, BTreeSet<InstanceId>> = BTreeMap::new();
    let here = state.nodes.get(node).into_iter();
    for id in here.flat_map(|node| node.assigned.keys()) {
        // One that must not run twice is given up by its deployment's deadline, not replaced.
        let known = state.instances.get(id).filter(|i| !is_alone(state, i));
        let Some(Origin::Deployment(deployment)) = known.map(|i| i.origin) else {
            continue;
        };
        let known = state.deployments.get(&deployment);
        let early = known.filter(|d| matches!(d.phase, Phase::Placing | Phase::Starting));
        if early.is_some_and(|d| d.new.contains(id)) {
            starting.entry(deployment).or_default().insert(id.clone());
        }
    }
    starting
}

pub(super) fn report(
    step: &mut Step<'_>,
    id: &NodeId,
    boot: &BootId,
    sequence: u64,
    instances: &BTreeMap<InstanceId, InstanceReport>,
) -> Result<Reply, ApiError> {
    let late = || refuse::outdated(format!("report of {id}"));
    let node = step.state.nodes.get_mut(id).ok_or_else(late)?;
    // A former boot, or older than what is known: drop it.
    if node.boot != *boot || sequence < node.sequence {
        return Err(late());
    }
    Arc::make_mut(node).sequence = sequence;
    for (instance, facts) in instances {
        take(step, id, instance, facts);
    }
    Ok(Reply::Done)
}

fn take(step: &mut Step<'_>, node: &NodeId, id: &InstanceId, facts: &InstanceReport) {
    let Some(known) = step.state.instances.get(id).cloned() else {
        return;
    };
    // What is over stays over.
    if known.node != *node || known.is_over() {
        return;
    }
    let was_ready = is_ready(step.state, &known);
    step.edit_instance(id, |i| i.facts = facts.clone());
    pin::image(step, &known, facts);
    let now_ready = step
        .state
        .instances
        .get(id)
        .is_some_and(|i| is_ready(step.state, i));
    let at = step.at;
    // A restart too quick to be seen as not ready begins anew all the same.
    let same = facts.restarts == known.facts.restarts;
    step.edit_instance(id, |i| {
        i.ready_at = match (was_ready && same, now_ready) {
            (true, true) => i.ready_at.or(Some(at)),
            (false, true) => Some(at),
            (_, false) => None,
        }
    });
    if facts.life == Life::Running {
        note_volumes(step, &known);
    }
    progress(step, &known, was_ready, now_ready);
    announce(step, &known, facts);
}

/// Where an instance runs its named volumes are. Names that no version has any more are forgotten.
fn note_volumes(step: &mut Step<'_>, known: &Instance) {
    let Some(app) = step.state.apps.get(&known.app) else {
        return;
    };
    let Some(spec) = app.spec(known.version).cloned() else {
        return;
    };
    let noted = |name: &str| {
        app.volumes
            .get(name)
            .is_some_and(|n| n.contains(&known.node))
    };
    if spec.named_volumes().all(noted) {
        return;
    }
    let versions = app.versions.values();
    let used = versions.flat_map(|v| v.spec.named_volumes().map(str::to_owned));
    let used: BTreeSet<String> = used.collect();
    step.edit_app(&known.app, |app| {
        app.volumes.retain(|name, _| used.contains(name));
        for name in spec.named_volumes() {
            let nodes = app.volumes.entry(name.to_owned()).or_default();
            nodes.insert(known.node.clone());
        }
    });
}

/// A deployment moves forward whenever one of its instances becomes ready.
fn progress(step: &mut Step<'_>, known: &Instance, was: bool, now: bool) {
    if was || !now {
        return;
    }
    let Ok(app) = step.app(&known.app) else {
        return;
    };
    let at = step.at;
    for id in &app.active {
        step.edit_deployment(*id, |d| {
            if d.new.contains(&known.id) && d.phase == Phase::Starting {
                d.progress = at;
            }
        });
    }
}

fn announce(step: &mut Step<'_>, known: &Instance, facts: &InstanceReport) {
    let Some((level, kind, what)) = news(known, facts) else {
        return;
    };
    let about = About {
        app: Some(&known.app),
        instance: Some(&known.id),
        node: Some(&known.node),
        ..About::default()
    };
    // What runs may still carry the reason of its last restart.
    let why = facts.reason.as_deref().filter(|_| level != Level::Info);
    let why = why.map(|r| format!(": {r}")).unwrap_or_default();
    let message = format!("instance {} {what}{why}", known.id);
    step.event(level, kind, about, message);
}

fn news(known: &Instance, facts: &InstanceReport) -> Option<(Level, &'static str, &'static str)> {
    let old = &known.facts;
    match facts.life {
        Life::Failed => Some((Level::Error, "instance_failed", "has failed")),
        Life::Rejected => Some((Level::Error, "instance_failed", "was rejected")),
        Life::Stopped if known.stage == Stage::Ending => {
            Some((Level::Info, "instance_stopped", "has stopped"))
        }
        Life::Stopped => Some((Level::Warning, "instance_stopped", "has stopped by itself")),
        _ if facts.restarts > old.restarts => {
            Some((Level::Warning, "instance_restarted", "was restarted"))
        }
        Life::Running if old.life != Life::Running => {
            Some((Level::Info, "instance_running", "is running"))
        }
        _ => None,
    }
}
