//! Instances, nodes, events, status.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use hancock_master_core::{Command, view};
use hancock_proto::api::{ApplyReply, InstanceView, NodeView, StatusView};
use hancock_proto::event::Event;
use hancock_proto::ids::AppName;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::body::Instance;
use super::error::Failure;
use super::query::{After, Patience, Query, Stale};
use super::writer::Writer;

type Answer<T> = Result<Json<T>, Failure>;

/// `?app=APP`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OfApp {
    /// Only this app's.
    #[param(value_type = Option<AppName>)]
    app: Option<String>,
}

/// Instances, of one app or of all.
#[utoipa::path(
    get,
    path = "/v1/instances",
    operation_id = "list_instances",
    tag = "cluster",
    params(OfApp, Stale),
    responses((status = 200, body = Vec<InstanceView>), (status = 404))
)]
pub(super) async fn instances(
    State(api): State<Api>,
    Query(query): Query<OfApp>,
) -> Answer<Vec<InstanceView>> {
    let app = query.app.as_deref().map(AppName::from_str).transpose();
    let app = app.map_err(|e| Failure::malformed(e.to_string()))?;
    let list = api.read(|ctx| {
        // An app that is not there is a mistake, not an app without instances.
        let known = app.as_ref().is_none_or(|a| ctx.state.apps.contains_key(a));
        known.then(|| view::instances(ctx, app.as_ref()))
    });
    let name = app.as_ref().map(ToString::to_string).unwrap_or_default();
    let missing = || {
        let message = format!("there is no app {name}; `hancock app list` shows those there are");
        Failure::new("app_not_found", message)
    };
    list.await?.ok_or_else(missing).map(Json)
}

/// Replaces an instance: another one is brought up, takes its place when it is ready, and then this one drains and stops. While that is under
/// way it may be asked for again, which changes nothing.
#[utoipa::path(
    post,
    path = "/v1/instances/{instance}/restart",
    operation_id = "restart_instance",
    tag = "cluster",
    params(Instance, Writer),
    responses((status = 200, body = ApplyReply), (status = 404), (status = 409))
)]
pub(super) async fn restart(
    Writer(api): Writer,
    Instance(instance): Instance,
) -> Answer<ApplyReply> {
    let at = api.deps.now();
    let command = Command::ReplaceInstance { instance, at };
    api.wish(command).await.map(Json)
}

/// All nodes.
#[utoipa::path(
    get,
    path = "/v1/nodes",
    operation_id = "list_nodes",
    tag = "cluster",
    params(Stale),
    responses((status = 200, body = Vec<NodeView>))
)]
pub(super) async fn nodes(State(api): State<Api>) -> Answer<Vec<NodeView>> {
    Ok(Json(api.read(view::nodes).await?))
}

/// What happened after an event: at once, or when there is something.
#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "list_events",
    tag = "cluster",
    params(After, Stale),
    responses((status = 200, body = Vec<Event>))
)]
pub(super) async fn events(
    State(api): State<Api>,
    Query(query): Query<After>,
) -> Answer<Vec<Event>> {
    let mut patience = Patience::new(&api.deps, query.wait);
    loop {
        let events = api
            .read(|ctx| view::events_after(ctx.state, query.after))
            .await?;
        if !events.is_empty() || !patience.changed().await {
            return Ok(Json(events));
        }
    }
}

/// How the cluster is. Also answered while nobody leads.
#[utoipa::path(
    get,
    path = "/v1/status",
    operation_id = "status",
    tag = "cluster",
    params(Stale),
    responses((status = 200, body = StatusView))
)]
pub(super) async fn status(State(api): State<Api>) -> Answer<StatusView> {
    let version = env!("CARGO_PKG_VERSION");
    let applied = api.deps.raft.newest();
    // Also answered while nobody leads: then it says just that.
    let view = api
        .deps
        .render(applied.state(), |ctx| view::status(ctx, version));
    let leadership = api.deps.raft.leadership().borrow().clone();
    let beginning = || Failure::new("no_leader", "the cluster is about to begin");
    let mut view = view.ok_or_else(beginning)?;
    view.leader = leadership.leader;
    view.term = leadership.term;
    view.trouble = api.deps.raft.full().map(|full| full.to_string());
    view.proxy = api.proxy.as_deref().map(str::to_owned);
    Ok(Json(view))
}
