//! Deployments: watched until they are over, or aborted.

use axum::Json;
use axum::extract::State;
use hancock_master_core::{Command, Reply, view};
use hancock_proto::api::DeploymentView;
use hancock_proto::ids::{DeploymentId, LogIndex};

use super::Api;
use super::body::{App, Deployment};
use super::error::Failure;
use super::query::{After, Patience, Query};
use super::writer::Writer;

type Answer<T> = Result<Json<T>, Failure>;

pub(super) async fn newest(State(api): State<Api>, App(app): App) -> Answer<DeploymentView> {
    let newest = api.read(|ctx| view::newest_deployment(ctx, &app)).await?;
    Ok(Json(newest?))
}

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
