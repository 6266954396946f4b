//! From the engine's containers to facts.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerSummary, ContainerSummaryStateEnum,
    MountPoint,
};
use bollard::query_parameters::ListContainersOptions;
use futures::{StreamExt, TryStreamExt};
use hancock_proto::ids::NodeId;
use hancock_proto::time::{Clock, SystemClock, Timestamp};

use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::observed::{Ending, Exit, Health, Observed, Owner, State, StopRule};

use super::create::{self, APP, CLUSTER, DIGEST, GRACE, INSTANCE, NODE, PORTS, SIGNAL, VERSION};
use super::{RuntimeError, connect, health, inspect};

/// Ended containers looked at side by side.
const AT_ONCE: usize = 8;

/// What the engine shows only some containers by.
type Filters = HashMap<String, Vec<String>>;

/// Every container that passes the filters and is ours, complete or an error.
pub(super) async fn list(docker: &Docker, filters: Filters) -> Result<Vec<Observed>, RuntimeError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(filters),
        ..ListContainersOptions::default()
    };
    let all = docker
        .list_containers(Some(options))
        .await
        .map_err(|e| connect::error("list", "containers", e))?;
    let each = all.into_iter().map(|one| look(docker, one));
    let looked: Vec<_> = futures::stream::iter(each)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(looked.into_iter().flatten().collect())
}

/// Those of a node.
pub(super) fn labelled(node: &NodeId) -> Filters {
    HashMap::from([("label".to_owned(), vec![format!("{NODE}={node}")])])
}

/// Those of any node.
pub(super) fn ours() -> Filters {
    HashMap::from([("label".to_owned(), vec![NODE.to_owned()])])
}

/// None: it went away meanwhile, or its labels are not ours.
async fn look(docker: &Docker, one: ContainerSummary) -> Result<Option<Observed>, RuntimeError> {
    use ContainerSummaryStateEnum::{CREATED, PAUSED, RESTARTING, RUNNING, STOPPING};
    let health = health::listed(docker, &one).await?;
    let state = match one.state {
        Some(RUNNING | PAUSED | RESTARTING | STOPPING) => State::Running { since: None },
        Some(CREATED) => State::Created,
        // Ended: only a closer look tells how and when.
        _ => {
            let id = one.id.unwrap_or_default();
            match inspect(docker, &id).await?.and_then(|c| c.state) {
                Some(state) => ended(&state),
                None => return Ok(None),
            }
        }
    };
    let mounts = one.mounts.unwrap_or_default();
    let seen = facts(&one.labels.unwrap_or_default(), &mounts, state, health);
    // Deeds go by the name: one that has our labels and another name was made by somebody else, and could not be reached.
    let names = one.names.unwrap_or_default();
    let named = |seen: &Observed| {
        let name = create::name(&seen.owner, &seen.instance);
        names.iter().any(|n| n.trim_start_matches('/') == name)
    };
    Ok(seen.filter(named))
}

fn facts(
    labels: &HashMap<String, String>,
    mounts: &[MountPoint],
    state: State,
    health: Option<Health>,
) -> Option<Observed> {
    let label = |name: &str| labels.get(name).map(String::as_str);
    let ports = label(PORTS).unwrap_or_default();
    Some(Observed {
        owner: Owner {
            cluster: label(CLUSTER)?.parse().ok()?,
            node: label(NODE)?.parse().ok()?,
        },
        instance: label(INSTANCE)?.parse().ok()?,
        app: label(APP)?.parse().ok()?,
        version: hancock_proto::ids::Version(label(VERSION)?.parse().ok()?),
        stop: StopRule {
            signal: label(SIGNAL)?.to_owned(),
            grace: label(GRACE)?.parse().ok()?,
        },
        host_ports: ports.split(',').filter_map(|p| p.parse().ok()).collect(),
        folders: folders(mounts),
        state,
        image_digest: label(DIGEST).map(str::to_owned),
        health,
    })
}

/// Folders of the host it may write to.
fn folders(mounts: &[MountPoint]) -> Vec<String> {
    let bound = |m: &&MountPoint| m.typ.as_deref() == Some("bind") && m.rw == Some(true);
    let bound = mounts.iter().filter(bound);
    bound.filter_map(|m| m.source.clone()).collect()
}

fn ended(state: &ContainerState) -> State {
    let finished = state.finished_at.as_deref().and_then(time);
    let code = state.exit_code.unwrap_or_default();
    let how = match i32::try_from(code).unwrap_or(i32::MAX) {
        _ if state.oom_killed == Some(true) => Ending::OutOfMemory,
        // Shells and the engine tell a signal as 128 + its number.
        code @ 129..=159 => Ending::Signal(code - 128),
        code => Ending::Code(code),
    };
    State::Exited(Exit {
        at: finished.unwrap_or_else(|| SystemClock.now()),
        how,
        tail: Vec::new(),
    })
}

/// A container that was just started or found running.
pub(super) fn running(
    spec: &StartSpec,
    there: &ContainerInspectResponse,
) -> Result<Observed, RuntimeError> {
    let labels = there.config.as_ref().and_then(|c| c.labels.clone());
    let state = match &there.state {
        Some(s) if s.running == Some(true) => State::Running {
            since: s.started_at.as_deref().and_then(time),
        },
        // It was quick: started and ended already.
        Some(s) => ended(s),
        None => State::Running { since: None },
    };
    let health = health::inspected(there);
    let mounts = there.mounts.clone().unwrap_or_default();
    facts(&labels.unwrap_or_default(), &mounts, state, health).ok_or_else(|| {
        let reason = "a container of its name lacks our labels; remove it";
        RuntimeError::failed("start", &spec.instance, reason)
    })
}

/// The engine's times; its zero time (year 1) is none.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let millis = text.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    u64::try_from(millis).ok().map(Timestamp)
}
