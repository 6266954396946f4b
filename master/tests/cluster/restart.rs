//! What a master still knows after it was away.

use hancock_proto::api::{AppDetail, DeploymentView, StatusView};
use hancock_proto::hub::{AgentMessage, HubMessage};
use hancock_testkit::wait::wait_for_async;
use hancock_wire::{AgentFrame, Fence};

use crate::agent::{Agent, frame, hello, session};
use crate::http::get;
use crate::{Cluster, DEADLINE, web};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_are_found_again_and_nothing_is_started_twice() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    cluster.apply(&web(2, "one")).await;
    let api = cluster.api;
    wait_for_async("the first deployment", DEADLINE, || async {
        let view: DeploymentView = get(api, "/v1/apps/web/deployment").await;
        if view.ok {
            Ok(())
        } else {
            Err(format!("{view:?}"))
        }
    })
    .await;
    let before = agent.seen();
    let (status, detail): (StatusView, AppDetail) =
        (get(api, "/v1/status").await, get(api, "/v1/apps/web").await);
    let cluster = cluster.restart().await;
    assert!(agent.ended().await.is_some());
    let now: StatusView = get(cluster.api, "/v1/status").await;
    assert_eq!(now.cluster, status.cluster);
    assert!(now.term > status.term, "every start is a new term");
    let app: AppDetail = get(cluster.api, "/v1/apps/web").await;
    assert_eq!((app.spec, app.published), (detail.spec, detail.published));
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    let after = wait_for_async("the assignment", DEADLINE, || async {
        agent.seen().assignment.ok_or("none yet")
    })
    .await;
    let before = before.assignment.unwrap();
    assert!(after.term > before.term);
    assert_eq!(
        after.instances, before.instances,
        "the same instances, none new"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_session_of_a_node_ends_the_older_one() {
    let cluster = Cluster::start().await;
    let first = Agent::connect(cluster.hub(), "n1", "b1").await;
    wait_for_async("the first session", DEADLINE, || async {
        first.seen().assignment.ok_or("no assignment")
    })
    .await;
    let second = Agent::connect(cluster.hub(), "n1", "b2").await;
    let status = first.ended().await.expect("a reason");
    assert!(status.message().contains("another session"), "{status}");
    wait_for_async("the second session", DEADLINE, || async {
        second.seen().assignment.ok_or("no assignment")
    })
    .await;
    cluster.stop().await;
}

/// The status a session ends with when its first frame is `first`.
async fn refused(cluster: &Cluster, first: AgentFrame) -> tonic::Status {
    let (out, mut inbox) = session(cluster.hub()).await;
    out.send(first).await.unwrap();
    let next = tokio::time::timeout(DEADLINE, inbox.message()).await;
    next.unwrap().expect_err("no session for this one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_told_why_they_are_refused() {
    let cluster = Cluster::start().await;
    let good = frame(&AgentMessage::Hello(hello("n1", "b1")));
    let fenced = |cluster: &str, term| AgentFrame {
        fence: Some(Fence {
            cluster: cluster.into(),
            term,
        }),
        ..good.clone()
    };
    let status = refused(&cluster, fenced("elsewhere", 1)).await;
    assert!(
        status.message().contains("belongs to cluster elsewhere"),
        "{status}"
    );
    let ours = cluster.master.cluster().to_string();
    let status = refused(&cluster, fenced(&ours, 1 << 40)).await;
    assert!(
        status.message().contains("no longer the leader"),
        "{status}"
    );
    let nonsense = AgentFrame {
        fence: None,
        body: b"hi".to_vec(),
    };
    let status = refused(&cluster, nonsense).await;
    assert!(status.message().contains("not a message"), "{status}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_was_away_gets_only_what_it_missed() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    cluster.apply(&web(1, "one")).await;
    let api = cluster.api;
    wait_for_async("the deployment", DEADLINE, || async {
        let view: DeploymentView = get(api, "/v1/apps/web/deployment").await;
        if view.ok {
            Ok(())
        } else {
            Err(format!("{view:?}"))
        }
    })
    .await;
    agent.vanish();
    let status: StatusView = get(api, "/v1/status").await;
    let mut back = hello("n1", "b1");
    // One revision behind.
    back.registry = Some(hancock_proto::ids::Revision(status.registry.0 - 1));
    let (out, mut inbox) = session(cluster.hub()).await;
    let first = AgentFrame {
        fence: Some(Fence {
            cluster: status.cluster.to_string(),
            term: status.term.0,
        }),
        ..frame(&AgentMessage::Hello(back))
    };
    out.send(first).await.unwrap();
    let next = tokio::time::timeout(DEADLINE, inbox.message())
        .await
        .unwrap();
    let message: HubMessage = serde_json::from_slice(&next.unwrap().unwrap().body).unwrap();
    let HubMessage::RegistryChanges { revision, changes } = message else {
        panic!("{message:?}");
    };
    assert_eq!(revision, status.registry);
    assert!(changes.iter().all(|c| c.revision == revision));
    cluster.stop().await;
}
