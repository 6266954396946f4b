//! Instances.

use hancock_proto::api::InstanceView;
use hancock_proto::ids::{AppName, InstanceId};

use super::Context;
use crate::state::{Instance, Stage};

/// Instances of one app or of all, those that failed for the app's newest deployment included.
pub fn instances(ctx: Context<'_>, app: Option<&AppName>) -> Vec<InstanceView> {
    let mine = |i: &&Instance| app.is_none_or(|app| i.app == *app);
    let here = ctx.state.instances.values().map(|i| &**i);
    let departed = ctx.state.departed.iter().map(|i| &**i);
    let mut all: Vec<_> = here
        .chain(departed.filter(|i| is_remembered(ctx, i)))
        .filter(mine)
        .collect();
    all.sort_by(|a, b| (&a.app, a.placed_at, &a.id).cmp(&(&b.app, b.placed_at, &b.id)));
    all.into_iter().map(|i| render(ctx, i)).collect()
}

/// What failed is shown until the app's next deployment: somebody may want to know why.
fn is_remembered(ctx: Context<'_>, instance: &Instance) -> bool {
    let app = ctx.state.apps.get(&instance.app);
    let newest = app.and_then(|a| a.newest);
    let newest = newest.and_then(|id| ctx.state.deployments.get(&id));
    newest.is_some_and(|d| instance.placed_at >= d.started)
}

/// One instance, gone or not.
pub(super) fn one(ctx: Context<'_>, id: &InstanceId) -> Option<InstanceView> {
    let here = ctx.state.instances.get(id);
    let known = here.or_else(|| ctx.state.departed.iter().find(|i| i.id == *id))?;
    Some(render(ctx, known))
}

fn render(ctx: Context<'_>, instance: &Instance) -> InstanceView {
    let app = ctx.state.apps.get(&instance.app);
    let routes = app.map(|a| &a.routes);
    let routed =
        routes.is_some_and(|r| r.serving.contains(&instance.id) && r.published >= instance.joined);
    let facts = &instance.facts;
    InstanceView {
        id: instance.id.clone(),
        app: instance.app.clone(),
        version: instance.version,
        node: Some(instance.node.clone()),
        address: address(ctx, instance),
        life: facts.life,
        since: facts.since,
        ready: facts.ready.clone(),
        routed,
        draining: is_leaving(instance) && !instance.is_over(),
        unknown: !instance.is_over() && !ctx.leader.is_alive(&instance.node, ctx.now),
        restarts: facts.restarts,
        image_digest: facts.image_digest.clone(),
        reason: facts.reason.clone(),
    }
}

/// Also while its node has not yet heard that it is to stop; what was never routed has nothing to drain.
fn is_leaving(instance: &Instance) -> bool {
    match instance.stage {
        Stage::Leaving => true,
        Stage::Ending => instance.left.is_some(),
        Stage::Starting | Stage::Live => false,
    }
}

fn address(ctx: Context<'_>, instance: &Instance) -> Option<String> {
    let node = ctx.state.nodes.get(&instance.node)?;
    let port = instance.ports.first()?;
    let host = &node.info.address;
    match host.contains(':') {
        true => Some(format!("[{host}]:{}", port.host)),
        false => Some(format!("{host}:{}", port.host)),
    }
}
