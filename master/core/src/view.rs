//! Renders the API's structures from state and leader's view.

use hancock_proto::api::{
    ApiError, AppDetail, AppSummary, DeploymentView, InstanceView, NodeView, PlanReply, StatusView,
    VersionInfo,
};
use hancock_proto::app::AppSpec;
use hancock_proto::event::Event;
use hancock_proto::ids::{AppName, DeploymentId};
use hancock_proto::time::Timestamp;

use crate::leader::LeaderView;
use crate::state::State;

/// State, what the leader saw, and the time: everything a view is rendered from. A follower passes an empty leader's view.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The state.
    pub state: &'a State,
    /// What the leader saw.
    pub leader: &'a LeaderView,
    /// The time.
    pub now: Timestamp,
}

/// One line per app.
pub fn apps(state: &State) -> Vec<AppSummary> {
    let _ = state;
    Vec::new()
}

/// Everything about one app.
///
/// # Errors
/// `app_not_found`.
pub fn app(ctx: Context<'_>, name: &AppName) -> Result<AppDetail, ApiError> {
    Err(skeleton(ctx, name))
}

/// The app's versions, newest first.
///
/// # Errors
/// `app_not_found`.
pub fn history(state: &State, name: &AppName) -> Result<Vec<VersionInfo>, ApiError> {
    let _ = (state, name);
    Ok(Vec::new())
}

/// One deployment.
///
/// # Errors
/// `deployment_not_found`.
pub fn deployment(ctx: Context<'_>, id: DeploymentId) -> Result<DeploymentView, ApiError> {
    Err(skeleton(ctx, id))
}

/// The app's newest deployment.
///
/// # Errors
/// `app_not_found`, or `deployment_not_found` when it never had one.
pub fn newest_deployment(ctx: Context<'_>, name: &AppName) -> Result<DeploymentView, ApiError> {
    Err(skeleton(ctx, name))
}

/// Instances of one app or of all.
pub fn instances(ctx: Context<'_>, app: Option<&AppName>) -> Vec<InstanceView> {
    let _ = (ctx, app);
    Vec::new()
}

/// Nodes.
pub fn nodes(ctx: Context<'_>) -> Vec<NodeView> {
    let _ = ctx;
    Vec::new()
}

/// Events with a number above `after`, oldest first.
pub fn events_after(state: &State, after: u64) -> Vec<Event> {
    let _ = (state, after);
    Vec::new()
}

/// How the cluster is. None: no cluster has begun. `version` is the answering master's; the proxy's address is filled in by the shell.
pub fn status(ctx: Context<'_>, version: &str) -> Option<StatusView> {
    let _ = (ctx, version);
    None
}

/// What applying `spec` would do.
///
/// # Errors
/// As applying it would be refused.
pub fn preview(ctx: Context<'_>, spec: &AppSpec) -> Result<PlanReply, ApiError> {
    Err(skeleton(ctx, &spec.app))
}

fn skeleton(_: Context<'_>, what: impl std::fmt::Display) -> ApiError {
    ApiError {
        code: "not_ready".to_owned(),
        message: format!("{what} cannot be shown yet"),
        problems: Vec::new(),
    }
}
