//! Apps: what owners wish and what became of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hancock_master_core::{Command, view};
use hancock_proto::api::{
    AppDetail, AppSummary, ApplyReply, PlanReply, RollbackRequest, ScaleRequest, VersionInfo,
};

use super::Api;
use super::body::{App, Body, Required, Spec};
use super::error::Failure;
use super::writer::Writer;

type Answer<T> = Result<Json<T>, Failure>;

pub(super) async fn plan(State(api): State<Api>, Spec(spec): Spec) -> Answer<PlanReply> {
    let reply = api.read(|ctx| view::preview(ctx, &spec)).await?;
    Ok(Json(reply?))
}

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

pub(super) async fn list(State(api): State<Api>) -> Answer<Vec<AppSummary>> {
    Ok(Json(api.read(|ctx| view::apps(ctx.state)).await?))
}

pub(super) async fn show(State(api): State<Api>, App(app): App) -> Answer<AppDetail> {
    Ok(Json(api.read(|ctx| view::app(ctx, &app)).await??))
}

pub(super) async fn history(State(api): State<Api>, App(app): App) -> Answer<Vec<VersionInfo>> {
    let versions = api.read(|ctx| view::history(ctx.state, &app)).await?;
    Ok(Json(versions?))
}

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

pub(super) async fn restart(Writer(api): Writer, App(app): App) -> Answer<ApplyReply> {
    let at = api.deps.now();
    api.wish(Command::Restart { app, at }).await.map(Json)
}

pub(super) async fn stop(Writer(api): Writer, App(app): App) -> Answer<ApplyReply> {
    let at = api.deps.now();
    api.wish(Command::StopApp { app, at }).await.map(Json)
}

pub(super) async fn start(Writer(api): Writer, App(app): App) -> Answer<ApplyReply> {
    let at = api.deps.now();
    api.wish(Command::StartApp { app, at }).await.map(Json)
}

pub(super) async fn delete(Writer(api): Writer, App(app): App) -> Answer<ApplyReply> {
    let at = api.deps.now();
    api.wish(Command::DeleteApp { app, at }).await.map(Json)
}
