//! Instances get a node and ports.

use std::collections::BTreeSet;
use std::sync::Arc;

use hancock_proto::api::ApiError;
use hancock_proto::app::writers::clash;
use hancock_proto::assignment::PortBinding;
use hancock_proto::event::Level;
use hancock_proto::ids::{AppName, DocIndex, InstanceId, NodeId, Version};
use hancock_proto::report::{InstanceReport, Life};

use super::claims;
use super::step::{About, Step};
use crate::command::{Placement, Purpose, Reply};
use crate::refuse;
use crate::state::{App, Instance, Origin, Phase, Stage, writer_here};

pub(super) fn place(
    step: &mut Step<'_>,
    purpose: &Purpose,
    first: u64,
    placements: &[Placement],
) -> Result<Reply, ApiError> {
    let (app, version, origin) = demand(step, purpose, placements.len())?;
    let free = ports_free(step, placements) && writers_apart(step, &app, version, placements);
    if first != step.state.last_instance + 1 || !free {
        return Err(refuse::outdated("place"));
    }
    let mut ids = BTreeSet::new();
    for placement in placements {
        ids.insert(insert(step, &app, version, origin, placement));
    }
    if let Purpose::Deployment(id) = purpose {
        let at = step.at;
        step.edit_deployment(*id, |d| {
            d.new.extend(ids);
            d.progress = at;
            if d.new.len() >= d.brings as usize {
                d.phase = Phase::Starting;
                d.since = at;
            }
        });
    }
    Ok(Reply::Done)
}

/// Which app and version, if so many are still wanted.
fn demand(
    step: &Step<'_>,
    purpose: &Purpose,
    count: usize,
) -> Result<(Arc<App>, Version, Origin), ApiError> {
    match purpose {
        Purpose::Deployment(id) => {
            let d = step.deployment(*id)?;
            let missing = (d.brings as usize).saturating_sub(d.new.len());
            if d.phase != Phase::Placing || count > missing {
                return Err(refuse::outdated("place"));
            }
            Ok((step.app(&d.app)?, d.version, Origin::Deployment(*id)))
        }
        Purpose::Heal(name) => {
            let app = step.app(name)?;
            let live = app.live.filter(|_| !app.stopped);
            let version = live.ok_or_else(|| refuse::outdated("place"))?;
            Ok((app, version, Origin::Healing))
        }
    }
}

fn ports_free(step: &Step<'_>, placements: &[Placement]) -> bool {
    let mut seen: BTreeSet<(&NodeId, u16)> = BTreeSet::new();
    placements.iter().all(|p| {
        let Some(node) = step.state.nodes.get(&p.node) else {
            return false;
        };
        let taken = |port: u16| {
            let here = node.assigned.values().flat_map(|a| &a.run.ports);
            let mut here = here.flat_map(PortBinding::hosts);
            here.any(|taken| taken == port)
        };
        // One instance may have a port over TCP and UDP.
        let ports: BTreeSet<u16> = p.ports.iter().flat_map(PortBinding::hosts).collect();
        ports.into_iter().all(|port| {
            let listened = claims::listener(step.state, port).is_some();
            !taken(port) && !listened && seen.insert((&p.node, port))
        })
    })
}

/// Nobody gets a volume beside its only writer.
fn writers_apart(step: &Step<'_>, app: &App, version: Version, placements: &[Placement]) -> bool {
    let Some(spec) = app.spec(version) else {
        return false;
    };
    let mine = (&app.name, &*spec.volumes);
    let alone = clash(mine, mine).is_some();
    let mut seen: BTreeSet<&NodeId> = BTreeSet::new();
    placements.iter().all(|p| {
        let held = writer_here(step.state, &p.node, &app.name, &spec.volumes);
        held.is_none() && (seen.insert(&p.node) || !alone)
    })
}

fn insert(
    step: &mut Step<'_>,
    app: &App,
    version: Version,
    origin: Origin,
    placement: &Placement,
) -> InstanceId {
    step.state.last_instance += 1;
    let id = InstanceId::new(&app.name, step.state.last_instance);
    step.insert_instance(Instance {
        id: id.clone(),
        app: app.name.clone(),
        version,
        rules: version,
        node: placement.node.clone(),
        ports: placement.ports.clone(),
        stage: Stage::Starting,
        origin,
        placed_at: step.at,
        ready_at: None,
        ending_at: None,
        joined: DocIndex(0),
        left: None,
        restarts_asked: 0,
        asked_after: None,
        facts: InstanceReport {
            version,
            life: Life::Placed,
            since: step.at,
            reason: None,
            ready: None,
            restarts: 0,
            image_digest: None,
            ailing: false,
        },
        replace: false,
        image_confirmed: false,
    });
    announce(step, &app.name, &id, &placement.node, origin);
    id
}

fn announce(step: &mut Step<'_>, app: &AppName, id: &InstanceId, node: &NodeId, origin: Origin) {
    let deployment = match origin {
        Origin::Deployment(id) => Some(id),
        Origin::Healing => None,
    };
    let about = About {
        app: Some(app),
        deployment,
        instance: Some(id),
        node: Some(node),
    };
    let message = format!("instance {id} is placed on {node}");
    step.event(Level::Info, "instance_placed", about, message);
}
