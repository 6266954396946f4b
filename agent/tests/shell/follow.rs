//! The registry chosen beside the master's stream: followed when told, also while no master answers, and never a step back.

use std::sync::Arc;

use hancock_proto::hub::HubMessage;
use hancock_proto::ids::{Revision, Term};
use hancock_proto::registry::{Batch, Choice, Entry, Fence, Listing, Outcome};
use hancock_proto::report::Follows;
use hancock_proto::upstream::UpstreamDoc;
use hancock_registry::UpstreamRegistry;

use crate::fake;
use crate::stage::{Stage, wait_for};

fn fence() -> Fence {
    Fence {
        cluster: "c1".parse().unwrap(),
        term: Term(1),
    }
}

fn doc(index: u64, zones: &[&str]) -> Arc<UpstreamDoc> {
    let member =
        serde_json::json!({"app": "web", "index": index, "accept_timeout_ms": 1, "zones": zones});
    let doc = serde_json::json!({"cluster": [], "hancock": member});
    Arc::new(serde_json::from_value(doc).unwrap())
}

async fn publish(stage: &Stage, name: &str, doc: Option<Arc<UpstreamDoc>>) -> Revision {
    let changes = [(name.parse().unwrap(), doc)].into();
    let app = "web".parse().unwrap();
    let batch = Batch { app, changes };
    match stage.outside.publish(&batch, &fence()).await.unwrap() {
        Outcome::Committed(revision) => revision,
        other => panic!("published as {other:?}"),
    }
}

async fn choose(stage: &Stage, number: u64, url: &str, filled: Option<Revision>) {
    let zones = ["default".parse().unwrap(), "oslo".parse().unwrap()].into();
    let url = url.parse().unwrap();
    let choice = Choice { number, url };
    let message = HubMessage::Registry {
        choice,
        zones,
        filled,
    };
    stage.send(message).await;
}

fn list(index: u64) -> HubMessage {
    let revision = Revision(index);
    let entry = Entry {
        revision,
        doc: doc(index, &[]),
    };
    HubMessage::RegistryList(Listing {
        another: false,
        damaged: Default::default(),
        revision,
        fence: Some(fence()),
        entries: [("web.test".parse().unwrap(), entry)].into(),
    })
}

#[tokio::test]
async fn what_is_chosen_is_followed_and_told_also_after_a_restart() {
    let (_, runtime) = fake();
    let mut stage = Stage::new(runtime.clone()).await;
    stage.send(list(5)).await;
    stage
        .wait_for("the master's document", |s| {
            s.balancer.applied() == [("web.test".to_owned(), 5)]
        })
        .await;
    publish(&stage, "web.test", Some(doc(4, &[]))).await;
    publish(&stage, "bergen.test", Some(doc(6, &["bergen"]))).await;
    publish(&stage, "oslo.test", Some(doc(7, &["oslo"]))).await;
    choose(&stage, 3, "etcd://fake/h", None).await;
    let told = |name: &str, index| (name.to_owned(), index);
    stage
        .wait_for("its zone's document", |s| {
            s.balancer.applied().contains(&told("oslo.test", 7))
        })
        .await;
    let filled = publish(&stage, "web.test", Some(doc(8, &[]))).await;
    choose(&stage, 3, "etcd://fake/h", Some(filled)).await;
    let follows = Follows {
        choice: 3,
        revision: filled,
    };
    stage
        .reported("following", |r| r.follows == Some(follows))
        .await;
    // Neither what is older nor what is another zone's was applied.
    let applied = stage.balancer.applied();
    assert_eq!(
        applied,
        [
            told("web.test", 5),
            told("oslo.test", 7),
            told("web.test", 8)
        ]
    );
    stage.restart_agent(runtime).await;
    publish(&stage, "web.test", Some(doc(9, &[]))).await;
    stage
        .wait_for("news without a master", |s| {
            s.balancer.applied().contains(&told("web.test", 9))
        })
        .await;
}

#[tokio::test]
async fn a_registry_that_cannot_be_followed_takes_nothing_away() {
    let (_, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    choose(&stage, 1, "etcd://fake/h", None).await;
    publish(&stage, "web.test", Some(doc(5, &[]))).await;
    stage
        .wait_for("the document", |s| s.balancer.applied().len() == 1)
        .await;
    stage.outside.wipe();
    choose(&stage, 2, "nowhere://x", None).await;
    stage.send(list(6)).await;
    stage
        .wait_for("the master's own", |s| s.balancer.applied().len() == 2)
        .await;
    choose(&stage, 3, "embedded", Some(Revision(6))).await;
    let follows = Follows {
        choice: 3,
        revision: Revision(6),
    };
    stage
        .reported("following its own", |r| r.follows == Some(follows))
        .await;
    wait_for("no removal", || {
        stage.balancer.applied().iter().all(|(_, index)| *index > 0)
    })
    .await;
}

/// Of thousands of agents nobody may list a store again because a connection broke.
#[tokio::test]
async fn a_watch_that_broke_goes_on_where_it_was() {
    let (_, runtime) = fake();
    let stage = Stage::new(runtime).await;
    publish(&stage, "web.test", Some(doc(1, &[]))).await;
    choose(&stage, 1, "etcd://fake/h", None).await;
    let has = |s: &Stage, index| {
        s.balancer
            .applied()
            .contains(&("web.test".to_owned(), index))
    };
    stage.wait_for("the list", |s| has(s, 1)).await;
    for index in 2..4 {
        stage.outside.cut_watches();
        publish(&stage, "web.test", Some(doc(index, &[]))).await;
        stage.wait_for("the change", |s| has(s, index)).await;
    }
    assert_eq!(stage.outside.lists(), 1);
    // What it has forgotten must be listed.
    stage.outside.cut_watches();
    publish(&stage, "web.test", Some(doc(4, &[]))).await;
    stage.outside.compact();
    stage.wait_for("the new list", |s| has(s, 4)).await;
    assert_eq!(stage.outside.lists(), 2);
}
