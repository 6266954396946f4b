//! Good and bad requests of the API.

use std::time::{Duration, Instant};

use hancock_proto::api::{ApiError, AppSummary, NodeView, PlanReply, StatusView};
use hancock_proto::event::Event;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::http::{get, send, send_bytes};
use crate::{Cluster, web};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_spec_is_answered_with_every_problem() {
    let cluster = Cluster::start().await;
    let mut broken = web(1, "x");
    broken["replicas"] = json!("many");
    broken["resources"]["memory"] = json!("32 parsecs");
    broken["colour"] = json!("red");
    for (method, path) in [("PUT", "/v1/apps/web"), ("POST", "/v1/plan")] {
        let reply = send(cluster.api, method, path, Some(&broken)).await;
        assert_eq!(reply.status, 422, "{}", reply.text());
        let error: ApiError = reply.json();
        assert_eq!(error.code, "invalid_spec");
        let paths: Vec<_> = error.problems.iter().map(|p| p.path.as_str()).collect();
        for wanted in ["replicas", "resources.memory", "colour"] {
            assert!(paths.contains(&wanted), "{wanted} in {paths:?}");
        }
    }
    let apps: Vec<AppSummary> = get(cluster.api, "/v1/apps").await;
    assert!(apps.is_empty(), "nothing was changed");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_json_with_the_right_status() {
    let cluster = Cluster::start().await;
    let spec = web(1, "x");
    let cases = [
        ("GET", "/v1/apps/nope", None, 404, "app_not_found"),
        ("GET", "/v1/apps/nope/history", None, 404, "app_not_found"),
        (
            "GET",
            "/v1/apps/nope/deployment",
            None,
            404,
            "app_not_found",
        ),
        ("GET", "/v1/apps/nope/logs", None, 404, "app_not_found"),
        ("GET", "/v1/instances?app=nope", None, 404, "app_not_found"),
        ("POST", "/v1/apps/nope/stop", None, 404, "app_not_found"),
        ("DELETE", "/v1/apps/nope", None, 404, "app_not_found"),
        (
            "GET",
            "/v1/deployments/77",
            None,
            404,
            "deployment_not_found",
        ),
        (
            "POST",
            "/v1/deployments/77/abort",
            None,
            404,
            "deployment_not_found",
        ),
        ("GET", "/v1/deployments/x", None, 400, "malformed"),
        ("GET", "/v1/apps/UPPER", None, 400, "malformed"),
        ("GET", "/v1/events?after=x", None, 400, "malformed"),
        ("GET", "/v1/events?wait=long", None, 400, "malformed"),
        ("PUT", "/v1/apps/other", Some(&spec), 400, "name_mismatch"),
        ("POST", "/v1/apps/web/scale", None, 400, "malformed"),
        ("GET", "/", None, 404, "not_found"),
        ("GET", "/v2/apps", None, 404, "not_found"),
        ("PATCH", "/v1/apps", None, 405, "method_not_allowed"),
    ];
    for (method, path, body, status, code) in cases {
        let reply = send(cluster.api, method, path, body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        assert_eq!(reply.json::<ApiError>().code, code, "{method} {path}");
    }
    let reply = send_bytes(cluster.api, "PUT", "/v1/apps/web", b"{".to_vec()).await;
    assert_eq!(
        (reply.status, reply.json::<ApiError>().code.as_str()),
        (400, "malformed")
    );
    let large = send_bytes(cluster.api, "PUT", "/v1/apps/web", vec![b' '; 2 << 20]).await;
    assert_eq!(
        (large.status, large.json::<ApiError>().code.as_str()),
        (413, "body_too_large")
    );
    assert_eq!(large.retry_after, None);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_shows_and_changes_nothing() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    hancock_testkit::wait::wait_for_async("the node", crate::DEADLINE, || async {
        let nodes: Vec<NodeView> = get(cluster.api, "/v1/nodes").await;
        let alive = nodes.iter().any(|n| n.state == "alive");
        if alive {
            Ok(())
        } else {
            Err(format!("{nodes:?}"))
        }
    })
    .await;
    let reply = send(cluster.api, "POST", "/v1/plan", Some(&web(3, "x"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let plan: PlanReply = reply.json();
    assert_eq!((plan.placements.len(), plan.unplaceable.len()), (3, 0));
    let apps: Vec<AppSummary> = get(cluster.api, "/v1/apps").await;
    assert!(apps.is_empty());
    agent.vanish();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_in_time_and_status_names_the_leader() {
    let cluster = Cluster::start().await;
    let begun = Instant::now();
    let none: Vec<Event> = get(cluster.api, "/v1/events?after=999999&wait=300ms").await;
    assert!(none.is_empty() && begun.elapsed() >= Duration::from_millis(300));
    let status: StatusView = get(cluster.api, "/v1/status").await;
    assert_eq!(status.leader.as_deref(), Some("m1"));
    assert_eq!(status.proxy.as_deref(), Some("127.0.0.1:8080"));
    assert!(status.term.0 > 0 && status.applied.0 > 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_ends_lets_waiting_readers_go() {
    let cluster = Cluster::start().await;
    let api = cluster.api;
    let waiting =
        tokio::spawn(
            async move { get::<Vec<Event>>(api, "/v1/events?after=999999&wait=60s").await },
        );
    // The request is being served once the one after it was answered.
    get::<StatusView>(api, "/v1/status").await;
    let begun = Instant::now();
    cluster.stop().await;
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    drop(waiting.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_described_is_routed_and_nothing_else_is_at_these_paths() {
    let cluster = Cluster::start().await;
    let document: Value = get(cluster.api, "/v1/openapi.json").await;
    let text = serde_json::from_str::<Value>(hancock_master::openapi());
    assert_eq!(document, text.unwrap());
    for (template, item) in document["paths"].as_object().unwrap() {
        // Names nothing that is there.
        let path = template.replace("{id}", "77").replace(['{', '}'], "");
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            let reply = send(cluster.api, method, &path, None).await;
            let error = serde_json::from_slice::<ApiError>(&reply.body);
            let code = error.map(|error| error.code).unwrap_or_default();
            let routed = !matches!(code.as_str(), "not_found" | "method_not_allowed");
            let described = item.get(method.to_lowercase()).is_some();
            assert_eq!(routed, described, "{method} {path}: {}", reply.text());
        }
    }
    cluster.stop().await;
}
