//! What operators ask of a cluster: that the answers are as described is checked where requests are sent.

use hancock_proto::api::{DeploymentView, MasterView, TopLine, UpstreamView, ZoneView};
use hancock_testkit::wait::wait_for_async;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::http::{get, open, send};
use crate::{Cluster, DEADLINE, web};

/// Sends and wants a status.
async fn ask(cluster: &Cluster, method: &str, path: &str, body: Value, status: u16) {
    let body = Some(&body).filter(|body| !body.is_null());
    let reply = send(cluster.api, method, path, body).await;
    assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_and_what_is_kept_by_hand_in_them() {
    let cluster = Cluster::start().await;
    let zone = json!({"selector": {"city": "oslo"}, "external_settle": "5s"});
    ask(&cluster, "PUT", "/v1/zones/oslo", zone.clone(), 200).await;
    let servers = "/v1/zones/oslo/upstreams";
    let server = json!({"name": "old.test", "host": "192.0.2.7", "port": 80, "weight": 2});
    ask(&cluster, "POST", servers, server.clone(), 200).await;
    let taken = "/v1/zones/default/upstreams";
    ask(&cluster, "POST", taken, server, 409).await;
    ask(&cluster, "DELETE", "/v1/zones/oslo", Value::Null, 409).await;
    let zones: Vec<ZoneView> = get(cluster.api, "/v1/zones").await;
    assert_eq!(zones.len(), 2);
    wait_for_async("the document", DEADLINE, || async {
        let upstreams: Vec<UpstreamView> = get(cluster.api, servers).await;
        let kept = upstreams.iter().any(|u| u.peers.len() == 1);
        kept.then_some(()).ok_or(format!("{upstreams:?}"))
    })
    .await;
    let _: Vec<TopLine> = get(cluster.api, "/v1/top?zone=oslo").await;
    ask(
        &cluster,
        "DELETE",
        servers,
        json!({"name": "old.test"}),
        200,
    )
    .await;
    // In use until the registry has let go of the document.
    wait_for_async("the zone's end", DEADLINE, || async {
        let reply = send(cluster.api, "DELETE", "/v1/zones/oslo", None).await;
        (reply.status == 200).then_some(()).ok_or(reply.text())
    })
    .await;
    for (method, path) in [
        ("DELETE", "/v1/zones/oslo"),
        ("GET", servers),
        ("GET", "/v1/top?zone=oslo"),
    ] {
        ask(&cluster, method, path, Value::Null, 404).await;
    }
    ask(&cluster, "PUT", "/v1/zones/default", zone, 409).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_read_and_written_in_every_way() {
    let cluster = Cluster::start().await;
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    cluster.apply(&web(1, "a")).await;
    cluster.apply(&web(2, "b")).await;
    wait_for_async("the deployment", DEADLINE, || async {
        let newest: DeploymentView = get(cluster.api, "/v1/apps/web/deployment").await;
        newest.done.then_some(()).ok_or(newest.reason)
    })
    .await;
    let reads = [
        "/v1/apps",
        "/v1/apps?stale=false",
        "/v1/apps/web",
        "/v1/apps/web/history",
        "/v1/apps/web/logs?tail=3",
        "/v1/deployments/1",
        "/v1/instances?app=web",
        "/v1/nodes",
        "/v1/events?after=0",
        "/v1/registry",
        "/v1/top",
        "/v1/snapshot",
    ];
    for path in reads {
        ask(&cluster, "GET", path, Value::Null, 200).await;
    }
    let writes = [
        ("POST", "/v1/apps/web/scale", json!({"replicas": 3}), 200),
        ("POST", "/v1/apps/web/rollback", json!({"version": 1}), 200),
        ("POST", "/v1/apps/web/rollback", json!({"version": 77}), 404),
        ("POST", "/v1/apps/web/restart", Value::Null, 200),
        ("POST", "/v1/apps/web/stop", Value::Null, 200),
        ("POST", "/v1/apps/web/start", Value::Null, 200),
        ("POST", "/v1/deployments/1/abort", Value::Null, 409),
        ("DELETE", "/v1/apps/web", Value::Null, 200),
    ];
    for (method, path, body, status) in writes {
        ask(&cluster, method, path, body, status).await;
    }
    agent.vanish();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_master_is_listed_and_stays() {
    let cluster = Cluster::start().await;
    let masters: Vec<MasterView> = get(cluster.api, "/v1/masters").await;
    assert!(masters[0].leader);
    let name = &masters[0].name;
    ask(
        &cluster,
        "DELETE",
        &format!("/v1/masters/{name}"),
        Value::Null,
        409,
    )
    .await;
    ask(
        &cluster,
        "POST",
        "/v1/masters/m9/transfer",
        Value::Null,
        404,
    )
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_answers_what_only_it_knows() {
    let cluster = Cluster::start().await;
    let api = cluster.api;
    let away = send(api, "GET", "/v1/nodes/n1/orphans", None).await;
    assert_eq!(away.status, 404, "{}", away.text());
    let agent = Agent::connect(cluster.hub(), "n1", "b1").await;
    wait_for_async("the node's answer", DEADLINE, || async {
        let reply = send(api, "GET", "/v1/nodes/n1/orphans", None).await;
        match reply.status {
            200 if reply.text().contains("web-9") => Ok(()),
            _ => Err(reply.text()),
        }
    })
    .await;
    let cut = open(api, "GET", "/v1/nodes/n1/orphans", Vec::new()).await;
    assert_eq!(cut.headers()["x-hancock-more"], "7");
    let purge = async |cluster: &str| {
        let body = json!({"cluster": cluster});
        send(api, "POST", "/v1/nodes/n1/purge", Some(&body)).await
    };
    let removed = purge("gone").await;
    assert_eq!(removed.status, 200, "{}", removed.text());
    let refused = purge("other").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(
        refused.text().contains("node n1: it is the node's own"),
        "{}",
        refused.text()
    );
    agent.vanish();
    wait_for_async("the end of the session", DEADLINE, || async {
        let reply = purge("gone").await;
        match reply.status {
            409 if reply.text().contains("node_away") => Ok(()),
            _ => Err(reply.text()),
        }
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_run_is_refused_before_anything_is_upgraded() {
    let cluster = Cluster::start().await;
    let plain = send(cluster.api, "GET", "/v1/instances/web-1/exec", None).await;
    assert_eq!(plain.status, 400, "{}", plain.text());
    assert!(
        plain.text().contains("speaks WebSocket"),
        "{}",
        plain.text()
    );
    let unknown = send(cluster.api, "POST", "/v1/instances/web-1/restart", None).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    cluster.stop().await;
}
