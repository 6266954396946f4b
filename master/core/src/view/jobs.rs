//! Where jobs of an app can run.

use hancock_proto::api::ApiError;
use hancock_proto::ids::{AppName, InstanceId, NodeId};
use hancock_proto::report::Life;
use hancock_proto::units::Span;

use super::Context;
use crate::refuse;
use crate::state::Stage;

/// Where a job may run, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPlaces {
    /// Longest one may take.
    pub timeout: Span,
    /// Instances that wait for jobs or have one, on nodes that are heard.
    pub at: Vec<(NodeId, InstanceId)>,
}

/// Where jobs of `app` run: in the instances of its live version, never in those on their way in or out.
///
/// # Errors
/// There is no such app, or it runs no jobs.
pub fn job_places(ctx: Context<'_>, app: &AppName) -> Result<JobPlaces, ApiError> {
    let known = ctx
        .state
        .apps
        .get(app)
        .ok_or_else(|| refuse::app_not_found(app))?;
    let wanted = known.spec(known.live.unwrap_or(known.wanted));
    let task = wanted
        .and_then(|spec| spec.task)
        .ok_or_else(|| refuse::no_task(app))?;
    if known.stopped || known.deleting {
        return Err(refuse::stopped(app));
    }
    let mine = known
        .instances
        .iter()
        .filter_map(|id| ctx.state.instances.get(id));
    let waits = mine.filter(|i| {
        i.stage == Stage::Live
            && i.facts.life == Life::Running
            && ctx.leader.is_alive(&i.node, ctx.now)
    });
    Ok(JobPlaces {
        timeout: task.timeout,
        at: waits.map(|i| (i.node.clone(), i.id.clone())).collect(),
    })
}
