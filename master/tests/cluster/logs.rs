//! Logs through the hub.

use std::time::Duration;

use hancock_proto::api::DeploymentView;
use hancock_proto::hub::LogLine;
use hancock_testkit::wait::wait_for_async;
use http_body_util::BodyExt;

use crate::agent::Agent;
use crate::http::{get, open, send};
use crate::{Cluster, DEADLINE, web};

async fn deployed() -> (Cluster, Agent) {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    cluster.apply(&web(2, "one")).await;
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
    (cluster, agent)
}

fn lines(text: &str) -> Vec<LogLine> {
    let parse = |line| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_of_all_instances_are_merged_by_time() {
    let (cluster, _agent) = deployed().await;
    let reply = send(
        cluster.api,
        "GET",
        "/v1/apps/web/logs?tail=10&since=10m",
        None,
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let lines = lines(&reply.text());
    assert_eq!(lines.len(), 12, "{lines:?}");
    assert!(lines.is_sorted_by_key(|line| line.at), "{lines:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followed_logs_stay_open_and_end_with_the_master() {
    let (cluster, _agent) = deployed().await;
    let response = open(
        cluster.api,
        "GET",
        "/v1/apps/web/logs?follow=true",
        Vec::new(),
    )
    .await;
    let mut body = response.into_body();
    let mut text = String::new();
    while text.lines().count() < 12 {
        let next = tokio::time::timeout(DEADLINE, body.frame()).await.unwrap();
        let data = next.unwrap().unwrap().into_data().unwrap();
        text.push_str(std::str::from_utf8(&data).unwrap());
    }
    let more = tokio::time::timeout(Duration::from_millis(200), body.frame()).await;
    assert!(more.is_err(), "nothing more to say, and not over");
    cluster.stop().await;
    let rest = tokio::time::timeout(DEADLINE, body.collect()).await;
    assert!(rest.is_ok(), "the stream ends with the master");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_away_is_named_in_the_log() {
    let (cluster, agent) = deployed().await;
    agent.vanish();
    let api = cluster.api;
    wait_for_async("the session to end", DEADLINE, || async {
        let reply = send(api, "GET", "/v1/apps/web/logs", None).await;
        let text = reply.text();
        if text.contains("node n1 is not connected") {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
    cluster.stop().await;
}
