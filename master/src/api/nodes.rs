//! What is asked of one node, and answered by that node itself.

use axum::Json;
use hancock_proto::api::PurgeRequest;
use hancock_proto::ask::{Answer, Orphan, Question};
use hancock_proto::ids::NodeId;

use super::Api;
use super::body::{Node, Required};
use super::error::Failure;
use super::writer::Asker;
use crate::audit;

/// What runs on a node, or is left there, and no assignment knows: of clusters that are gone, or of this one until the node removes it.
#[utoipa::path(
    get,
    path = "/v1/nodes/{node}/orphans",
    operation_id = "node_orphans",
    tag = "cluster",
    params(Node),
    responses((status = 200, body = Vec<Orphan>), (status = 404), (status = 409))
)]
pub(super) async fn orphans(
    Asker(api): Asker,
    Node(node): Node,
) -> Result<Json<Vec<Orphan>>, Failure> {
    ask(&api, &node, Question::Orphans).await.map(Json)
}

/// Ends and removes what another cluster left on a node. Answers with what was removed.
#[utoipa::path(
    post,
    path = "/v1/nodes/{node}/purge",
    operation_id = "node_purge",
    tag = "cluster",
    params(Node),
    request_body = PurgeRequest,
    responses((status = 200, body = Vec<Orphan>), (status = 404), (status = 409))
)]
pub(super) async fn purge(
    Asker(api): Asker,
    Node(node): Node,
    Required(request): Required<PurgeRequest>,
) -> Result<Json<Vec<Orphan>>, Failure> {
    let cluster = request.cluster;
    let deed = format!("purge node {node} of cluster {cluster}");
    let removed = ask(&api, &node, Question::Purge { cluster }).await?;
    audit::done(&api.who, &deed);
    Ok(Json(removed))
}

async fn ask(api: &Api, node: &NodeId, question: Question) -> Result<Vec<Orphan>, Failure> {
    let known = api.read(|ctx| ctx.state.nodes.contains_key(node)).await?;
    if !known {
        let message = format!("there is no node {node}; `hancock node list` shows those there are");
        return Err(Failure::new("node_not_found", message));
    }
    let away = || {
        let message = format!("node {node} is not connected just now; try again when it is");
        Failure::new("node_away", message)
    };
    let answer = api.sessions.ask(node, question).await.ok_or_else(away)?;
    let refused = |why| Failure::new("conflict", format!("node {node}: {why}"));
    let Answer::Orphans { orphans, .. } = answer.map_err(refused)?;
    Ok(orphans)
}
