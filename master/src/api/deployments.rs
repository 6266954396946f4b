//! Deployments: watched until they are over, or aborted.

use axum::Json;
use axum::extract::State;
use hancock_master_core::{Command, Reply, view};
use hancock_proto::api::DeploymentView;
use hancock_proto::ids::{DeploymentId, LogIndex};

use super::Api;
use super::body::{App, Deployment};
use super::error::Failure;
use super::query::{After, Patience, Query, Stale};
use super::writer::Writer;

type Answer<T> = Result<Json<T>, Failure>;

/// An app's newest deployment.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/deployment",
    operation_id = "newest_deployment",
    tag = "deployments",
    params(App, Stale),
    responses((status = 200, body = DeploymentView), (status = 404))
)]
pub(super) async fn newest(State(api): State<Api>, App(app): App) -> Answer<DeploymentView> {
    let newest = api.read(|ctx| view::newest_deployment(ctx, &app)).await?;
    Ok(Json(newest?))
}

/// A deployment: at once, or when its `index` has passed `after`.
#[utoipa::path(
    get,
    path = "/v1/deployments/{id}",
    operation_id = "show_deployment",
    tag = "deployments",
    params(Deployment, After, Stale),
    responses((status = 200, body = DeploymentView), (status = 404))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Deployment(id): Deployment,
    Query(query): Query<After>,
) -> Answer<DeploymentView> {
    let mut patience = Patience::new(&api.deps, query.wait);
    loop {
        let view = look(&api, id).await?;
        if view.index > LogIndex(query.after) || !patience.changed().await {
            return Ok(Json(view));
        }
    }
}

/// Ends a deployment that has not switched yet; the old set stays.
#[utoipa::path(
    post,
    path = "/v1/deployments/{id}/abort",
    operation_id = "abort_deployment",
    tag = "deployments",
    params(Deployment, Writer),
    responses((status = 200, body = DeploymentView), (status = 404), (status = 409))
)]
pub(super) async fn abort(
    Writer(api): Writer,
    Deployment(id): Deployment,
) -> Answer<DeploymentView> {
    let command = Command::Abort {
        deployment: id,
        at: api.deps.now(),
    };
    match api.propose(command).await? {
        Reply::Refused(error) => Err(error.into()),
        _ => look(&api, id).await.map(Json),
    }
}

async fn look(api: &Api, id: DeploymentId) -> Result<DeploymentView, Failure> {
    let view = api.read(|ctx| view::deployment(ctx, id)).await?;
    Ok(view?)
}
