//! From a spec to a container: name, labels, body, and what a refusal of the engine means.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use hancock_proto::ids::InstanceId;

use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::observed::Owner;

use super::RuntimeError;
use super::connect::{error, status};
use super::jobs::place;
use super::pull::Exact;
use super::{health, host};

/// Label of the cluster.
pub(super) const CLUSTER: &str = "hancock.cluster";
/// Label of the node.
pub(super) const NODE: &str = "hancock.node";
/// Label of the instance.
pub(super) const INSTANCE: &str = "hancock.instance";
/// Label of the app.
pub(super) const APP: &str = "hancock.app";
/// Label of the app's version.
pub(super) const VERSION: &str = "hancock.version";
/// Label of the stop signal.
pub(super) const SIGNAL: &str = "hancock.stop-signal";
/// Label of the grace period.
pub(super) const GRACE: &str = "hancock.grace-period";
/// Label of the host ports.
pub(super) const PORTS: &str = "hancock.ports";
/// Label of the digest of its image.
pub(super) const DIGEST: &str = "hancock.image-digest";
/// Label of the checksum of what it was created from.
const SPEC: &str = "hancock.spec";

/// The container's name. One per instance, so that the engine itself refuses a second one.
pub(super) fn name(owner: &Owner, instance: &InstanceId) -> String {
    let owner = format!("{}/{}", owner.cluster, owner.node);
    format!(
        "hancock-{instance}-{:08x}",
        crc32fast::hash(owner.as_bytes())
    )
}

/// Whether a container was created from exactly this spec, so that it may be started again.
pub(super) fn is_of(there: &ContainerInspectResponse, spec: &StartSpec) -> bool {
    let labels = there.config.as_ref().and_then(|c| c.labels.as_ref());
    let label = |name| labels.and_then(|l| l.get(name));
    let digest = spec.image_digest.as_ref();
    label(SPEC) == Some(&checksum(spec))
        && digest.is_none_or(|wanted| label(DIGEST) == Some(wanted))
}

/// Without the image's digest: that is learnt only from the first one that was made.
fn checksum(spec: &StartSpec) -> String {
    let spec = StartSpec {
        image_digest: None,
        ..spec.clone()
    };
    let text = serde_json::to_vec(&spec).unwrap_or_default();
    format!("{:08x}", crc32fast::hash(&text))
}

pub(super) fn body(spec: &StartSpec, image: Exact, publish: IpAddr) -> ContainerCreateBody {
    let (entrypoint, cmd) = command(spec);
    let grace = spec.stop.grace.duration().as_secs();
    ContainerCreateBody {
        image: Some(image.name),
        entrypoint,
        cmd,
        env: Some(
            spec.environment
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect(),
        ),
        user: spec.user.clone(),
        working_dir: spec.workdir.clone(),
        labels: Some(labels(spec, image.digest)),
        stop_signal: Some(match spec.reuse {
            true => place::STOP_SIGNAL.to_owned(),
            false => spec.stop.signal.clone(),
        }),
        stop_timeout: Some(i64::try_from(grace).unwrap_or(i64::MAX)),
        hostname: spec.container.hostname.clone(),
        healthcheck: (!spec.image_check).then(health::none),
        // Bindings alone do nothing: the engine publishes exposed ports only.
        exposed_ports: Some(host::bindings(spec, publish).into_keys().collect()),
        host_config: Some(host::config(spec, publish)),
        ..ContainerCreateBody::default()
    }
}

/// Entry point and arguments.
fn command(spec: &StartSpec) -> (Option<Vec<String>>, Option<Vec<String>>) {
    if spec.reuse {
        return (Some(place::entry_point()), Some(spec.command.clone()));
    }
    // A command of the spec replaces the image's entry point too: it names the program.
    match spec.command.split_first() {
        Some((program, arguments)) => (Some(vec![program.clone()]), Some(arguments.to_vec())),
        None => (None, None),
    }
}

fn labels(spec: &StartSpec, digest: Option<String>) -> HashMap<String, String> {
    let ours = [
        (CLUSTER, spec.owner.cluster.to_string()),
        (NODE, spec.owner.node.to_string()),
        (INSTANCE, spec.instance.to_string()),
        (APP, spec.app.to_string()),
        (VERSION, spec.version.to_string()),
        (SIGNAL, spec.stop.signal.clone()),
        (GRACE, spec.stop.grace.to_string()),
        (PORTS, ports(spec)),
        (SPEC, checksum(spec)),
    ];
    let ours = ours.map(|(name, value)| (name.to_owned(), value));
    // Ours last: an owner's label must not make a container another instance's.
    let digest = digest.map(|digest| (DIGEST.to_owned(), digest));
    let owners = spec.labels.iter().filter(|(name, _)| *name != DIGEST);
    let owners = owners.map(|(name, value)| (name.clone(), value.clone()));
    owners.chain(ours).chain(digest).collect()
}

fn ports(spec: &StartSpec) -> String {
    let ports: Vec<_> = spec.host_ports().map(|p| p.to_string()).collect();
    ports.join(",")
}

/// What the engine says when it lacks something that another node's may have.
const HERE: [&str; 6] = [
    "bind source path does not exist",
    "storage-opt is supported only",
    "storage-opt is not supported",
    "error looking up logging plugin",
    "no log driver named",
    "network not found",
];

/// Why it was not created or started. What the container itself asks for in vain will fail every time; the rest may pass.
pub(super) fn not_started(spec: &StartSpec, refusal: Error) -> RuntimeError {
    let code = status(&refusal);
    let failed = error("start", &spec.instance, refusal);
    let RuntimeError::Failed { reason, .. } = &failed else {
        return failed;
    };
    if let Some(why) = program(spec, reason) {
        return RuntimeError::impossible("start", &spec.instance, why);
    }
    if HERE.iter().any(|here| reason.contains(here)) {
        return RuntimeError::elsewhere("start", &spec.instance, reason);
    }
    match code {
        Some(400) => RuntimeError::impossible("start", &spec.instance, reason),
        _ => failed,
    }
}

/// The engine tells of a missing program through three layers of words; said plainly.
fn program(spec: &StartSpec, reason: &str) -> Option<String> {
    let what = match reason {
        r if r.contains("executable file not found") => "is not in the image's PATH",
        r if r.contains("exec") && r.contains("no such file or directory") => {
            "is not in the image (or the interpreter or library it needs is not)"
        }
        r if r.contains("exec") && r.contains("permission denied") => "may not be executed",
        r if r.contains("No command specified") => {
            return Some("the image names no program; give a command in the spec".to_owned());
        }
        _ => return None,
    };
    let program = match spec.reuse {
        true => place::PROGRAM,
        false => spec.command.first().map_or("of the image", String::as_str),
    };
    Some(format!("program {program:?} {what}"))
}
