//! What is asked of one node and answered by that node itself, and what is sent to an instance there.

use axum::Json;
use axum::http::{HeaderMap, HeaderName};
use hancock_master_core::view;
use hancock_proto::api::{PurgeRequest, SignalRequest};
use hancock_proto::ask::{Answer, Orphan, Question};
use hancock_proto::ids::{InstanceId, NodeId};
use hancock_proto::report::Life;

use super::Api;
use super::body::{Instance, Node, Required};
use super::describe::Nothing;
use super::error::Failure;
use super::writer::Asker;
use crate::audit;

/// How many more there are than the answer holds; left out: none.
const MORE: HeaderName = HeaderName::from_static("x-hancock-more");

/// A list, and how many more there are.
type Part<T> = (HeaderMap, Json<Vec<T>>);

/// What runs on a node, or is left there, and no assignment knows: of clusters that are gone, or of this one until the node removes it.
/// The first thousand; how many more there are says the header `X-Hancock-More`.
#[utoipa::path(
    get,
    path = "/v1/nodes/{node}/orphans",
    operation_id = "node_orphans",
    tag = "cluster",
    params(Node),
    responses((status = 200, body = Vec<Orphan>), (status = 404), (status = 409))
)]
pub(super) async fn orphans(Asker(api): Asker, Node(node): Node) -> Result<Part<Orphan>, Failure> {
    orphans_of(&api, &node, Question::Orphans).await
}

/// Ends and removes what another cluster left on a node. Answers with what was removed: the first thousand; how many more
/// it were says the header `X-Hancock-More`.
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
) -> Result<Part<Orphan>, Failure> {
    let cluster = request.cluster;
    let deed = format!("purge node {node} of cluster {cluster}");
    let removed = orphans_of(&api, &node, Question::Purge { cluster }).await?;
    audit::done(&api.who, &deed);
    Ok(removed)
}

/// Sends an instance a signal at once. When it ends of that, its node starts it again, as after any end. An answer that was lost does not tell
/// whether the signal was sent: look before it is sent again.
#[utoipa::path(
    post,
    path = "/v1/instances/{instance}/signal",
    operation_id = "signal_instance",
    tag = "cluster",
    params(Instance),
    request_body = SignalRequest,
    responses((status = 200, body = Nothing), (status = 404), (status = 409))
)]
pub(super) async fn signal(
    Asker(api): Asker,
    Instance(instance): Instance,
    Required(SignalRequest { signal }): Required<SignalRequest>,
) -> Result<Json<()>, Failure> {
    let node = place(&api, &instance).await?;
    let deed = format!("send {signal} to instance {instance} on node {node}");
    ask(&api, &node, Question::Signal { instance, signal }).await?;
    audit::done(&api.who, &deed);
    Ok(Json(()))
}

/// The node on which an instance runs.
pub(super) async fn place(api: &Api, instance: &InstanceId) -> Result<NodeId, Failure> {
    let found = api.read(|ctx| {
        let all = view::instances(ctx, None);
        all.into_iter().find(|i| i.id == *instance)
    });
    let missing = || {
        let message =
            format!("there is no instance {instance}; `hancock ps` shows those there are");
        Failure::new("instance_not_found", message)
    };
    let found = found.await?.ok_or_else(missing)?;
    match found.node {
        Some(node) if !found.life.is_over() && found.life != Life::Pending => Ok(node),
        _ => {
            let message = format!("instance {instance} does not run: it is {}", found.life);
            Err(Failure::new("not_running", message))
        }
    }
}

async fn orphans_of(api: &Api, node: &NodeId, question: Question) -> Result<Part<Orphan>, Failure> {
    match ask(api, node, question).await? {
        Answer::Orphans { orphans, more } => {
            let more = (more > 0).then(|| (MORE, more.into()));
            Ok((more.into_iter().collect(), Json(orphans)))
        }
        other => Err(unexpected(node, &other)),
    }
}

/// Only of an agent that speaks otherwise than it should.
pub(super) fn unexpected(node: &NodeId, answer: &Answer) -> Failure {
    tracing::warn!(%node, ?answer, "a node answered something else than was asked");
    let message = format!(
        "node {node} answered something else than was asked; is its agent of this version?"
    );
    Failure::new("conflict", message)
}

/// Asks a node, and waits for its answer.
pub(super) async fn ask(api: &Api, node: &NodeId, question: Question) -> Result<Answer, Failure> {
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
    answer.map_err(refused)
}
