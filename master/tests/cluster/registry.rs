//! The choice of registry: switched while everything runs, kept right afterwards.

use std::sync::Arc;

use hancock_master_core::repairs;
use hancock_proto::api::{DeploymentView, RegistryView};
use hancock_proto::event::Event;
use hancock_proto::registry::{Batch, Fence, Listing};
use hancock_proto::upstream::UpstreamDoc;
use hancock_registry::fake::{Fake, Fault};
use hancock_registry::{Opener, RegistryError, UpstreamRegistry};
use hancock_testkit::wait::wait_for_async;
use serde_json::json;

use crate::agent::Agent;
use crate::http::{get, send};
use crate::{Cluster, DEADLINE, web};

/// `etcd://fake/…` is one fake for everybody, whatever comes after.
fn opener(fake: &Fake) -> Opener {
    let fake = fake.clone();
    Opener::new(move |url| match url.secret().starts_with("etcd://fake") {
        true => Ok(Arc::new(fake.clone())),
        false => Err(RegistryError::Unsupported {
            url: url.to_string(),
            problem: "nobody knows it",
        }),
    })
}

async fn choose(cluster: &Cluster, url: &str) -> RegistryView {
    let reply = send(
        cluster.api,
        "PUT",
        "/v1/registry",
        Some(&json!({"url": url})),
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn phase(cluster: &Cluster, phase: &str, url: &str) -> RegistryView {
    wait_for_async(&format!("{phase} {url}"), DEADLINE, || async {
        let view: RegistryView = get(cluster.api, "/v1/registry").await;
        match view.phase == phase && view.next.as_deref().unwrap_or(&view.url) == url {
            true => Ok(view),
            false => Err(format!("{view:?}")),
        }
    })
    .await
}

async fn deployed(cluster: &Cluster, mark: &str) {
    let reply = cluster.apply(&web(2, mark)).await;
    let id = reply.deployment.unwrap();
    wait_for_async("the deployment", DEADLINE, || async {
        let view: DeploymentView = get(cluster.api, &format!("/v1/deployments/{id}")).await;
        match view.ok {
            true => Ok(()),
            false => Err(view.reason),
        }
    })
    .await;
}

/// What every agent hears, as the master's own registry has it.
async fn same(agent: &Agent, fake: &Fake) {
    wait_for_async("the documents in the other registry", DEADLINE, || async {
        let mut own: Listing = fake.list().await.unwrap();
        own.entries.retain(|_, _| false);
        for (name, doc) in agent.seen().docs {
            let revision = own.revision;
            let entry = hancock_proto::registry::Entry { revision, doc };
            own.entries.insert(name, entry);
        }
        let left = repairs(&own, &fake.list().await.unwrap());
        match left.is_empty() && !own.entries.is_empty() {
            true => Ok(()),
            false => Err(format!("{left:?}")),
        }
    })
    .await;
}

/// A cluster of one node with an app, whose registry in force is a fake.
async fn switched() -> (Fake, Cluster, Agent) {
    let fake = Fake::new();
    let cluster = Cluster::start_with(opener(&fake)).await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    deployed(&cluster, "one").await;
    choose(&cluster, "etcd://fake/h").await;
    phase(&cluster, "settled", "etcd://fake/h").await;
    (fake, cluster, agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_waits_for_every_node_and_goes_back_again() {
    let fake = Fake::new();
    let cluster = Cluster::start_with(opener(&fake)).await;
    let first = Agent::connect(cluster.hub(), "n1", "b1").await;
    let second = Agent::connect(cluster.hub(), "n2", "b1").await;
    deployed(&cluster, "one").await;
    let url = "etcd://fake/h";
    second.behave(|m| m.follows = false);
    let begun = choose(&cluster, url).await;
    assert_eq!(
        (begun.url.as_str(), begun.next.as_deref()),
        ("embedded", Some(url))
    );
    let view = phase(&cluster, "confirming", url).await;
    wait_for_async("one of two nodes following", DEADLINE, || async {
        let view: RegistryView = get(cluster.api, "/v1/registry").await;
        match view.following == 1 && view.waiting == ["n2".parse().unwrap()] {
            true => Ok(()),
            false => Err(format!("{view:?}")),
        }
    })
    .await;
    assert_eq!(view.nodes, 2);
    same(&first, &fake).await;
    // In the middle of it a deployment goes on, in both.
    deployed(&cluster, "two").await;
    same(&first, &fake).await;
    phase(&cluster, "confirming", url).await;
    second.behave(|m| m.follows = true);
    phase(&cluster, "settled", url).await;
    deployed(&cluster, "three").await;
    same(&first, &fake).await;
    choose(&cluster, "embedded").await;
    let view = phase(&cluster, "settled", "embedded").await;
    assert_eq!((view.following, view.nodes), (2, 2));
    let before = fake.list().await.unwrap().revision;
    deployed(&cluster, "four").await;
    assert_eq!(
        fake.list().await.unwrap().revision,
        before,
        "it is left alone"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_away_holds_up_what_it_must_hold() {
    let (fake, cluster, agent) = switched().await;
    for fault in [
        Fault::WrittenAnswerLost,
        Fault::NothingWrittenAnswerLost,
        Fault::Unreachable,
    ] {
        fake.inject(fault);
        deployed(&cluster, &format!("{fault:?}")).await;
        same(&agent, &fake).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_was_wiped_or_written_to_is_put_right() {
    let (fake, cluster, agent) = switched().await;
    same(&agent, &fake).await;
    fake.wipe();
    same(&agent, &fake).await;
    let fence: Fence = fake.list().await.unwrap().fence.unwrap();
    let foreign = Batch {
        app: "web".parse().unwrap(),
        changes: [(
            "web.test".parse().unwrap(),
            Some(Arc::new(UpstreamDoc::default())),
        )]
        .into(),
    };
    fake.publish(&foreign, &fence).await.unwrap();
    same(&agent, &fake).await;
    wait_for_async("two reports of it", DEADLINE, || async {
        let events: Vec<Event> = get(cluster.api, "/v1/events?after=0").await;
        let told = events.iter().filter(|e| e.kind == "registry_repaired");
        let told: Vec<_> = told.map(|e| e.message.clone()).collect();
        match told.len() == 2 && told.iter().all(|m| m.contains("web.test")) {
            true => Ok(()),
            false => Err(format!("{told:?}")),
        }
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_registry_is_refused() {
    let cluster = Cluster::start().await;
    for (url, status) in [("consul://10.0.0.1/h", 409), ("nothing", 400)] {
        let body = json!({"url": url});
        let reply = send(cluster.api, "PUT", "/v1/registry", Some(&body)).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    cluster.stop().await;
}
