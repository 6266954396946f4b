//! Images on nodes: what is there, and fetching one before it is needed.

use axum::Json;
use hancock_proto::api::PullRequest;
use hancock_proto::ask::{Answer, NodeImage, Pull, Question};
use hancock_proto::ids::NodeId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::body::{Node, Required};
use super::error::Failure;
use super::nodes::{ask, unexpected};
use super::query::Query;
use super::writer::Asker;
use crate::audit;

/// `?image=NAME`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The image.
    image: String,
}

/// Images on a node, whosever they are; the first thousand.
#[utoipa::path(
    get,
    path = "/v1/nodes/{node}/images",
    operation_id = "node_images",
    tag = "cluster",
    params(Node),
    responses((status = 200, body = Vec<NodeImage>), (status = 404), (status = 409))
)]
pub(super) async fn list(
    Asker(api): Asker,
    Node(node): Node,
) -> Result<Json<Vec<NodeImage>>, Failure> {
    match ask(&api, &node, Question::Images).await? {
        Answer::Images { images, .. } => Ok(Json(images)),
        other => Err(unexpected(&node, &other)),
    }
}

/// Has a node fetch an image, also when it has one of that name; one that is being fetched already is not begun twice. The answer is at once;
/// how far it is, and how it ended, the same path tells for some minutes.
#[utoipa::path(
    post,
    path = "/v1/nodes/{node}/pull",
    operation_id = "node_pull",
    tag = "cluster",
    params(Node),
    request_body = PullRequest,
    responses((status = 200, body = Pull), (status = 404), (status = 409))
)]
pub(super) async fn pull(
    Asker(api): Asker,
    Node(node): Node,
    Required(PullRequest { image }): Required<PullRequest>,
) -> Result<Json<Pull>, Failure> {
    let deed = format!("pull image {image} on node {node}");
    let how = pull_of(&api, &node, Question::Pull { image, begin: true }).await?;
    audit::done(&api.who, &deed);
    Ok(Json(how))
}

/// How far the last fetching of an image is that was asked for here.
#[utoipa::path(
    get,
    path = "/v1/nodes/{node}/pull",
    operation_id = "node_pull_progress",
    tag = "cluster",
    params(Node, Which),
    responses((status = 200, body = Pull), (status = 404), (status = 409))
)]
pub(super) async fn look(
    Asker(api): Asker,
    Node(node): Node,
    Query(Which { image }): Query<Which>,
) -> Result<Json<Pull>, Failure> {
    let question = Question::Pull {
        image,
        begin: false,
    };
    pull_of(&api, &node, question).await.map(Json)
}

async fn pull_of(api: &Api, node: &NodeId, question: Question) -> Result<Pull, Failure> {
    match ask(api, node, question).await? {
        Answer::Pull(how) => Ok(how),
        other => Err(unexpected(node, &other)),
    }
}
