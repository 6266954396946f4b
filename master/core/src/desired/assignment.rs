//! One node's assignment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::app::{AppSpec, CheckKind, HealthCheck, Volume};
use hancock_proto::assignment::{
    AssignedInstance, Assignment, Check, Liveness, PortBinding, RunSpec,
};
use hancock_proto::ids::{NodeId, Term};
use hancock_proto::report::Life;
use hancock_proto::units::Span;

use crate::state::{AppVersion, Assigned, Instance, Stage, State};

/// Everything `node` shall run; None: the node is not registered, or there is no cluster yet.
pub fn assignment(state: &State, term: Term, node: &NodeId) -> Option<Assignment> {
    let known = state.nodes.get(node)?;
    Some(Assignment {
        cluster: state.cluster.clone()?,
        term,
        node: node.clone(),
        generation: known.generation,
        instances: known
            .assigned
            .iter()
            .map(|(id, assigned)| (id.clone(), AssignedInstance::clone(assigned)))
            .collect(),
    })
}

/// What every node shall run, from scratch: for the property test and after reading a snapshot.
pub(crate) fn derive_assigned(state: &State) -> BTreeMap<NodeId, Assigned> {
    let mut all: BTreeMap<NodeId, Assigned> = BTreeMap::new();
    for instance in state.instances.values() {
        let Some(assigned) = assigned(state, instance) else {
            continue;
        };
        let node = all.entry(instance.node.clone()).or_default();
        node.insert(instance.id.clone(), Arc::new(assigned));
    }
    all
}

/// One instance as its node shall run it.
pub(crate) fn assigned(state: &State, instance: &Instance) -> Option<AssignedInstance> {
    let app = state.apps.get(&instance.app)?;
    let version = app.versions.get(&instance.version)?;
    let spec = &version.spec;
    let rules = app.spec(instance.rules).unwrap_or(spec);
    Some(AssignedInstance {
        app: instance.app.clone(),
        version: instance.version,
        desired: instance.desired(),
        run: RunSpec {
            image_digest: image_digest(version, instance).cloned(),
            ..run_spec(spec, rules, &instance.ports)
        },
        check: check(rules, &instance.ports),
        liveness: rules.liveness.map(|rule| Liveness {
            after_failures: rule.after_failures,
            start: start_period(rules),
        }),
        stop_after: rules.disconnect.map(|rule| rule.stop_after),
        restarts_asked: instance.restarts_asked,
        exclusive: single_writers(spec),
    })
}

/// The image it is to be made of, where its node may be told: see [`Instance::image_confirmed`].
fn image_digest<'a>(version: &'a AppVersion, instance: &Instance) -> Option<&'a String> {
    let told = instance.stage == Stage::Starting || instance.image_confirmed;
    version.image_digest.as_ref().filter(|_| told)
}

fn single_writers(spec: &AppSpec) -> BTreeSet<String> {
    let exclusive = spec.volumes.iter().filter(|v| v.exclusive);
    exclusive.map(|v| v.target.clone()).collect()
}

/// Without what is told beside them.
fn volumes(spec: &AppSpec) -> Vec<Volume> {
    let each = spec.volumes.iter();
    each.map(|v| Volume {
        exclusive: false,
        ..v.clone()
    })
    .collect()
}

/// Whether an instance may get requests, or would if anything were routed to it.
pub(crate) fn is_ready(state: &State, instance: &Instance) -> bool {
    if is_other_image(state, instance) {
        return false;
    }
    let unchecked = || {
        let app = state.apps.get(&instance.app);
        let rules = app.and_then(|a| a.spec(instance.rules));
        rules.is_some_and(|r| check(r, &instance.ports).is_none())
    };
    match (&instance.facts.ready, instance.facts.life) {
        (Some(_), _) => instance.is_ready(),
        // Nobody judges it: up is ready.
        (None, Life::Running) => unchecked(),
        (None, _) => false,
    }
}

/// Whether it is made of something else than its version is by now: its node makes it anew.
pub(crate) fn is_other_image(state: &State, instance: &Instance) -> bool {
    let app = state.apps.get(&instance.app);
    let version = app.and_then(|a| a.versions.get(&instance.version));
    let pinned = version.and_then(|v| image_digest(v, instance));
    let made_of = instance.facts.image_digest.as_ref();
    pinned.zip(made_of).is_some_and(|(p, m)| p != m)
}

/// `spec` says what runs, `rules` what may change while it does: its limits, how it ends and restarts.
fn run_spec(spec: &AppSpec, rules: &AppSpec, ports: &[PortBinding]) -> RunSpec {
    RunSpec {
        image: spec.image.clone(),
        image_digest: None,
        pull_policy: spec.pull_policy,
        command: spec.command.clone(),
        workdir: spec.workdir.clone(),
        user: spec.user.clone(),
        environment: spec.environment.clone(),
        labels: spec.labels.clone(),
        resources: spec.resources,
        limits: rules.limits,
        ports: ports.to_vec(),
        volumes: volumes(spec),
        files: spec.files.clone(),
        container: spec.container.clone(),
        // What waits for jobs is not judged by what its image says of the app.
        image_check: rules.healthcheck.is_none() && spec.task.is_none(),
        reuse: spec.task.is_some_and(|task| task.reuse),
        stop_signal: rules.stop.signal.clone(),
        grace_period: rules.stop.grace_period,
        restart: rules.restart.clone(),
    }
}

/// The readiness check with its port resolved. An app with a service and no check of its own is asked for a connection.
fn check(rules: &AppSpec, ports: &[PortBinding]) -> Option<Check> {
    let spec = match rules.own_check() {
        Some(check) => check.clone(),
        None => connect(&rules.service.first()?.port),
    };
    let Some(name) = &spec.port else {
        return Some(Check {
            spec,
            host_port: None,
            host: String::new(),
        });
    };
    let port = ports.iter().find(|p| p.name == *name)?;
    Some(Check {
        host: check_host(rules, name),
        host_port: Some(port.host),
        spec,
    })
}

/// Time a start may take before failed checks are a reason to restart.
fn start_period(rules: &AppSpec) -> Span {
    let own = rules.own_check().and_then(|check| check.start_period);
    own.unwrap_or(rules.update.healthy_deadline)
}

/// The check of an app that names none.
fn connect(port: &str) -> HealthCheck {
    HealthCheck {
        kind: CheckKind::Tcp,
        port: Some(port.to_owned()),
        path: None,
        expect: Vec::new(),
        command: Vec::new(),
        interval: Span::seconds(2),
        start_interval: Span::millis(100),
        start_period: None,
        timeout: Span::seconds(2),
        rise: 1,
        fall: 2,
    }
}

/// Host header of a check: what clients of the checked port say, or else the app's name.
pub(super) fn check_host(spec: &AppSpec, port: &str) -> String {
    let served = spec.service.iter().filter(|s| s.port == port);
    let any = spec.service.iter();
    served
        .chain(any)
        .find_map(|s| s.hosts.first())
        .map_or_else(|| spec.app.to_string(), |host| name_of(host).to_owned())
}

/// A host without its path.
pub(super) fn name_of(host: &str) -> &str {
    host.split_once('/').map_or(host, |(name, _)| name)
}
