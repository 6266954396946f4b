//! Deployments from the spec to the end, as an owner and an agent see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_proto::api::{
    AppDetail, ApplyReply, DeploymentView, InstanceView, StatusView, VersionInfo,
};
use hancock_proto::assignment::{AssignedInstance, Desired};
use hancock_proto::event::Event;
use hancock_proto::ids::{DeploymentId, InstanceId, Version};
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::UpstreamDoc;
use hancock_testkit::wait::wait_for_async;

use crate::agent::Agent;
use crate::http::{get, send};
use crate::{Cluster, DEADLINE, web};

/// Follows a deployment by long polls until it is over.
async fn outcome(cluster: &Cluster, id: DeploymentId) -> DeploymentView {
    let mut after = 0;
    loop {
        let path = format!("/v1/deployments/{id}?after={after}&wait=20s");
        let poll = get::<DeploymentView>(cluster.api, &path);
        let view = tokio::time::timeout(DEADLINE, poll).await.unwrap();
        if view.done {
            return view;
        }
        assert!(view.index.0 >= after, "the index does not go back");
        after = view.index.0;
    }
}

async fn deploy(cluster: &Cluster, replicas: u32, mark: &str) -> DeploymentView {
    let reply = cluster.apply(&web(replicas, mark)).await;
    outcome(cluster, reply.deployment.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spec_becomes_instances_documents_and_an_end() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    let view = deploy(&cluster, 2, "one").await;
    assert!(view.ok, "{view:?}");
    let detail: AppDetail = get(cluster.api, "/v1/apps/web").await;
    assert_eq!(detail.summary.serving, 2);
    let seen = agent.seen();
    let doc = &seen.docs["web.test"];
    assert_eq!(doc.servers().count(), 2);
    assert_eq!(doc.index(), detail.published);
    assert_eq!(seen.assignment.unwrap().instances.len(), 2);
    cluster.stop().await;
    assert!(
        agent.ended().await.is_some(),
        "the session is ended with a reason"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_version_takes_over_and_the_first_one_leaves() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    deploy(&cluster, 2, "one").await;
    let first = agent.seen().assignment.unwrap().instances;
    let view = deploy(&cluster, 2, "two").await;
    assert!(view.ok, "{view:?}");
    wait_for_async("the old set to leave", DEADLINE, || async {
        let now = agent.seen().assignment.unwrap().instances;
        let old = now.keys().filter(|id| first.contains_key(*id)).count();
        if old == 0 && now.len() == 2 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    // Make before break: while the old ones were retiring, the new ones were in.
    let history = agent.seen().history;
    let handover = history
        .iter()
        .filter_map(|(_, doc)| doc.as_ref())
        .find(|doc| {
            doc.hancock
                .as_ref()
                .is_some_and(|m| m.added.len() == 2 && m.retiring.len() == 2)
        });
    assert!(handover.is_some(), "{history:?}");
    let versions: Vec<VersionInfo> = get(cluster.api, "/v1/apps/web/history").await;
    assert_eq!(versions.len(), 2);
    // And back again.
    let back = send(cluster.api, "POST", "/v1/apps/web/rollback", None).await;
    assert_eq!(back.status, 200, "{}", back.text());
    let reply: ApplyReply = back.json();
    assert!(outcome(&cluster, reply.deployment.unwrap()).await.ok);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_aborted_while_it_starts_never_touches_the_old_set() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    deploy(&cluster, 1, "one").await;
    agent.behave(|manners| manners.ready_up_to = Version(1));
    let before = agent.seen();
    let first = before.assignment.unwrap().instances;
    let id = cluster.apply(&web(1, "two")).await.deployment.unwrap();
    wait_for_async("the second set to be assigned", DEADLINE, || async {
        let now = agent.seen().assignment.unwrap().instances;
        if now.len() == 2 {
            Ok(())
        } else {
            Err(now.len())
        }
    })
    .await;
    abort(&cluster, id, 200).await;
    assert!(!outcome(&cluster, id).await.ok);
    only_left(&agent, &first).await;
    // The documents were never about anything but the first set.
    let docs = agent.seen().docs;
    let peers = |docs: &BTreeMap<ServiceName, Arc<UpstreamDoc>>| {
        let servers = docs["web.test"].servers().cloned();
        servers.collect::<Vec<_>>()
    };
    assert_eq!(peers(&docs), peers(&before.docs));
    abort(&cluster, id, 409).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_aborted_while_it_hands_over_goes_back_to_the_old_set() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    deploy(&cluster, 1, "one").await;
    let first = agent.seen().assignment.unwrap().instances;
    agent.behave(|manners| manners.confirms = false);
    let id = cluster.apply(&web(1, "two")).await.deployment.unwrap();
    wait_for_async("the hand-over to be published", DEADLINE, || async {
        let doc = agent.seen().docs["web.test"].clone();
        let begun = doc.hancock.as_ref().is_some_and(|m| !m.added.is_empty());
        if begun {
            Ok(())
        } else {
            Err(format!("{doc:?}"))
        }
    })
    .await;
    abort(&cluster, id, 200).await;
    agent.behave(|manners| manners.confirms = true);
    assert!(!outcome(&cluster, id).await.ok);
    only_left(&agent, &first).await;
    cluster.stop().await;
}

async fn abort(cluster: &Cluster, id: DeploymentId, status: u16) {
    let path = format!("/v1/deployments/{id}/abort");
    let reply = send(cluster.api, "POST", &path, None).await;
    assert_eq!(reply.status, status, "{}", reply.text());
}

/// Waits until the node runs these instances and no others.
async fn only_left(agent: &Agent, wanted: &BTreeMap<InstanceId, AssignedInstance>) {
    wait_for_async("only the first set to be left", DEADLINE, || async {
        let now = agent.seen().assignment.unwrap().instances;
        let same = now.keys().eq(wanted.keys());
        let running = now.values().all(|i| i.desired == Desired::Running);
        if same && running {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_cluster_writes_nothing() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    deploy(&cluster, 2, "one").await;
    // Settling goes on for a moment after the deployment is over; offers come all the time, and must not be written.
    wait_for_async("half a second without a write", DEADLINE, || async {
        let before: StatusView = get(cluster.api, "/v1/status").await;
        get::<Vec<Event>>(cluster.api, "/v1/events?after=999999&wait=500ms").await;
        let after: StatusView = get(cluster.api, "/v1/status").await;
        let quiet = before.applied == after.applied;
        if quiet {
            Ok(())
        } else {
            Err(format!("{} to {}", before.applied, after.applied))
        }
    })
    .await;
    agent.vanish();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_to_who_waits() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    let joined = async {
        loop {
            let events: Vec<Event> = get(cluster.api, "/v1/events?after=0&wait=20s").await;
            if let Some(joined) = events.iter().find(|e| e.kind == "node_joined") {
                return joined.number;
            }
        }
    };
    let last = tokio::time::timeout(DEADLINE, joined).await.unwrap();
    let waiting = {
        let (api, path) = (cluster.api, format!("/v1/events?after={last}&wait=30s"));
        tokio::spawn(async move { get::<Vec<Event>>(api, &path).await })
    };
    deploy(&cluster, 1, "one").await;
    let events = tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap()
        .unwrap();
    assert!(!events.is_empty() && events.iter().all(|e| e.number > last));
    agent.vanish();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_app_is_gone_everywhere() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    deploy(&cluster, 2, "one").await;
    let deleted = send(cluster.api, "DELETE", "/v1/apps/web", None).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    wait_for_async("instances and documents to be gone", DEADLINE, || async {
        let instances: Vec<InstanceView> = get(cluster.api, "/v1/instances").await;
        let seen = agent.seen();
        let left = seen.assignment.unwrap().instances.len();
        let clean = instances.is_empty() && seen.docs.is_empty() && left == 0;
        if clean {
            Ok(())
        } else {
            Err(format!("{instances:?} {:?}", seen.docs.keys()))
        }
    })
    .await;
    cluster.stop().await;
}
