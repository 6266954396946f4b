//! Apps: what owners wish and what became of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hancock_master_core::{Command, view};
use hancock_proto::api::{
    AppDetail, AppSummary, ApplyReply, PlanReply, RollbackRequest, ScaleRequest, VersionInfo,
};
use hancock_proto::app::AppSpec;

use super::Api;
use super::body::{App, Body, Required, Spec};
use super::error::Failure;
use super::query::Stale;
use super::writer::Writer;

type Answer<T> = Result<Json<T>, Failure>;

/// What applying a spec would do. Changes nothing.
#[utoipa::path(
    post,
    path = "/v1/plan",
    operation_id = "plan",
    tag = "apps",
    params(Stale),
    request_body = AppSpec,
    responses((status = 200, body = PlanReply), (status = 409), (status = 422))
)]
pub(super) async fn plan(State(api): State<Api>, Spec(spec): Spec) -> Answer<PlanReply> {
    let reply = api.read(|ctx| view::preview(ctx, &spec)).await?;
    Ok(Json(reply?))
}

/// Applies a spec: a new app, or a new version of one. A deployment carries it out.
#[utoipa::path(
    put,
    path = "/v1/apps/{app}",
    operation_id = "apply_app",
    tag = "apps",
    params(App, Writer),
    request_body = AppSpec,
    responses((status = 200, body = ApplyReply), (status = 409), (status = 422))
)]
pub(super) async fn apply(
    Writer(api): Writer,
    App(app): App,
    Spec(spec): Spec,
) -> Answer<ApplyReply> {
    if spec.app != app {
        let named = &spec.app;
        let message = format!("the path names app {app}, the spec app {named}; make them the same");
        return Err(Failure::new("name_mismatch", message));
    }
    let command = Command::ApplyApp {
        spec: Arc::new(spec),
        at: api.deps.now(),
    };
    api.wish(command).await.map(Json)
}

/// All apps.
#[utoipa::path(
    get,
    path = "/v1/apps",
    operation_id = "list_apps",
    tag = "apps",
    params(Stale),
    responses((status = 200, body = Vec<AppSummary>))
)]
pub(super) async fn list(State(api): State<Api>) -> Answer<Vec<AppSummary>> {
    Ok(Json(api.read(|ctx| view::apps(ctx.state)).await?))
}

/// Everything about an app.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}",
    operation_id = "show_app",
    tag = "apps",
    params(App, Stale),
    responses((status = 200, body = AppDetail), (status = 404))
)]
pub(super) async fn show(State(api): State<Api>, App(app): App) -> Answer<AppDetail> {
    Ok(Json(api.read(|ctx| view::app(ctx, &app)).await??))
}

/// The versions of an app that are remembered.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/history",
    operation_id = "app_history",
    tag = "apps",
    params(App, Stale),
    responses((status = 200, body = Vec<VersionInfo>), (status = 404))
)]
pub(super) async fn history(State(api): State<Api>, App(app): App) -> Answer<Vec<VersionInfo>> {
    let versions = api.read(|ctx| view::history(ctx.state, &app)).await?;
    Ok(Json(versions?))
}

/// Goes back to an older version of an app, which gets a number of its own.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/rollback",
    operation_id = "rollback_app",
    tag = "apps",
    params(App, Writer),
    request_body = Option<RollbackRequest>,
    responses((status = 200, body = ApplyReply), (status = 404), (status = 409), (status = 422))
)]
pub(super) async fn rollback(
    Writer(api): Writer,
    App(app): App,
    Body(request): Body<RollbackRequest>,
) -> Answer<ApplyReply> {
    let command = Command::Rollback {
        app,
        version: request.version,
        at: api.deps.now(),
    };
    api.wish(command).await.map(Json)
}

/// Changes the number of replicas.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/scale",
    operation_id = "scale_app",
    tag = "apps",
    params(App, Writer),
    request_body = ScaleRequest,
    responses((status = 200, body = ApplyReply), (status = 404), (status = 409), (status = 422))
)]
pub(super) async fn scale(
    Writer(api): Writer,
    App(app): App,
    Required(request): Required<ScaleRequest>,
) -> Answer<ApplyReply> {
    let command = Command::Scale {
        app,
        replicas: request.replicas,
        at: api.deps.now(),
    };
    api.wish(command).await.map(Json)
}

/// Replaces every instance by a new one of the same version.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/restart",
    operation_id = "restart_app",
    tag = "apps",
    params(App, Writer),
    responses((status = 200, body = ApplyReply), (status = 404), (status = 409))
)]
pub(super) async fn restart(Writer(api): Writer, App(app): App) -> Answer<ApplyReply> {
    let at = api.deps.now();
    api.wish(Command::Restart { app, at }).await.map(Json)
}

/// Stops an app and keeps it.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/stop",
    operation_id = "stop_app",
    tag = "apps",
    params(App, Writer),
    responses((status = 200, body = ApplyReply), (status = 404), (status = 409))
)]
pub(super) async fn stop(Writer(api): Writer, App(app): App) -> Answer<ApplyReply> {
    let at = api.deps.now();
    api.wish(Command::StopApp { app, at }).await.map(Json)
}

/// Starts an app that was stopped.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/start",
    operation_id = "start_app",
    tag = "apps",
    params(App, Writer),
    responses((status = 200, body = ApplyReply), (status = 404), (status = 409), (status = 422))
)]
pub(super) async fn start(Writer(api): Writer, App(app): App) -> Answer<ApplyReply> {
    let at = api.deps.now();
    api.wish(Command::StartApp { app, at }).await.map(Json)
}

/// Stops an app, and forgets it when its last instance has ended.
#[utoipa::path(
    delete,
    path = "/v1/apps/{app}",
    operation_id = "delete_app",
    tag = "apps",
    params(App, Writer),
    responses((status = 200, body = ApplyReply), (status = 404), (status = 409))
)]
pub(super) async fn delete(Writer(api): Writer, App(app): App) -> Answer<ApplyReply> {
    let at = api.deps.now();
    api.wish(Command::DeleteApp { app, at }).await.map(Json)
}
