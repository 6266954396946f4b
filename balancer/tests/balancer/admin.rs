//! The management interface, as Slardar's clients use it.

use hancock_testkit::wait::wait_for_async;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::client::{PATIENCE, get, send};
use crate::origin::Origin;
use crate::world::{WEB, World, doc, server};

async fn json_of(world: &World, path: &str) -> Value {
    let answer = get(world.admin, "admin", path).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    serde_json::from_str(&answer.body).unwrap()
}

async fn write(world: &World, method: &str, path: &str, body: &str) -> (u16, Value) {
    let answer = send(world.admin, "admin", method, path, body).await;
    (
        answer.status.as_u16(),
        serde_json::from_str(&answer.body).unwrap_or(Value::Null),
    )
}

#[tokio::test]
async fn a_put_is_served_checked_and_shown() {
    let world = World::new().await;
    let origin = Origin::start("a").await;
    let body = json!({"enable": true, "x-other": 1, "servers": [{"host": "127.0.0.1", "port": origin.port(), "max_fails": 6}]});
    let (status, reply) = write(&world, "PUT", "/upstream/web.example", &body.to_string()).await;
    assert_eq!((status, reply), (200, json!({"status": 200})));
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    let stored = json_of(&world, "/upstreams").await;
    assert_eq!(
        stored[WEB]["cluster"][0]["servers"][0]["port"],
        origin.port()
    );
    assert_eq!(stored[WEB]["x-other"], 1);
    let status = wait_for_async("a probe", PATIENCE, || async {
        let status = json_of(&world, "/status").await;
        if status["cls:web.example"][0][0]["fail_num"].is_u64() {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let peer = &status["cls:web.example"][0][0];
    assert_eq!(
        peer["server"],
        format!("web.example:127.0.0.1:{}", origin.port())
    );
    assert_eq!(
        (
            &peer["status"],
            &peer["weight"],
            &peer["max_fails"],
            &peer["msg"]
        ),
        (&json!("ok"), &json!(1), &json!(6), &Value::Null)
    );
    assert_eq!(status["shd_config_version"], 1);
    assert_eq!(status["checkup_timer_alive"], true);
    assert_eq!(status["start_time"].as_str().map(str::len), Some(19));
    // The short form keeps earlier options.
    let more = json!({"mode": "ip_hash", "servers": [{"host": "127.0.0.1", "port": origin.port().to_string()}]});
    assert_eq!(
        write(&world, "POST", "/upstream/web.example", &more.to_string())
            .await
            .0,
        200
    );
    let stored = json_of(&world, "/upstreams").await;
    assert_eq!(
        (&stored[WEB]["x-other"], &stored[WEB]["mode"]),
        (&json!(1), &json!("ip_hash"))
    );
    assert_eq!(
        write(&world, "DELETE", "/upstream/web.example", "").await.0,
        200
    );
    assert_eq!(get(world.proxy, WEB, "/").await.reason(), "unknown_host");
    world.stop().await;
}

#[tokio::test]
async fn verdicts_follow_the_rounds() {
    let world = World::new().await;
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let servers =
        json!([{"host": "127.0.0.1", "port": a.port()}, {"host": "127.0.0.1", "port": b.port()}]);
    let body = json!({"servers": servers, "protected": true}).to_string();
    assert_eq!(
        write(&world, "PUT", "/upstream/web.example", &body).await.0,
        200
    );
    let words = async |wanted: [&str; 2]| {
        wait_for_async("verdicts", PATIENCE, || async {
            let status = json_of(&world, "/status").await;
            let level = &status["cls:web.example"][0];
            let seen = [level[0]["status"].clone(), level[1]["status"].clone()];
            if seen == wanted {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
    };
    words(["ok", "ok"]).await;
    a.kill().await;
    words(["err", "ok"]).await;
    b.kill().await;
    words(["unstable", "err"]).await;
    world.stop().await;
}

#[tokio::test]
async fn refusals_are_the_originals() {
    let world = World::new().await;
    for (body, message) in [
        ("", "body too big"),
        ("{", "decode body error"),
        ("false", "decode body error"),
        ("[]", "body invalid"),
        ("null", "body invalid"),
        ("{}", "body invalid"),
        (r#"{"servers":1}"#, "body invalid"),
        (r#"{"servers":[],"cluster":1}"#, "cluster invalid"),
        (r#"{"cluster":[[]]}"#, "can not update empty level"),
        (r#"{"servers":[]}"#, "servers invalid"),
        (r#"{"cluster":[{"servers":1}]}"#, "servers invalid"),
        (r#"{"servers":[1]}"#, "server must be a table"),
        (
            r#"{"servers":[{"host":"a"}]}"#,
            "no server.host nor server.port found",
        ),
    ] {
        let (status, reply) = write(&world, "PUT", "/upstream/x", body).await;
        assert_eq!(
            (status, &reply),
            (400, &json!({"status": 400, "msg": message})),
            "{body}"
        );
    }
    for (body, part) in [
        (
            r#"{"servers":[{"host":"a","port":0}]}"#,
            "cluster[0].servers[0].port",
        ),
        (
            r#"{"servers":[{"host":"","port":1}]}"#,
            "cluster[0].servers[0].host",
        ),
        (
            r#"{"servers":[{"host":"a","port":"x"}]}"#,
            "document invalid",
        ),
    ] {
        let (status, reply) = write(&world, "PUT", "/upstream/x", body).await;
        assert!(
            status == 400 && reply["msg"].as_str().unwrap().contains(part),
            "{body}: {reply}"
        );
    }
    let (status, reply) = write(&world, "DELETE", "/upstream/x", "").await;
    assert_eq!(
        (status, reply),
        (400, json!({"status": 400, "msg": "upstream x not found"}))
    );
    let (status, reply) = write(&world, "PATCH", "/upstream/x", "").await;
    assert_eq!(
        (status, reply),
        (405, json!({"status": 405, "msg": "method not allowed"}))
    );
    assert_eq!(json_of(&world, "/status").await["shd_config_version"], 0);
    world.stop().await;
}

#[tokio::test]
async fn paths_match_exactly() {
    let world = World::new().await;
    for (path, status) in [
        ("/status?x=1", 400),
        ("/status/", 400),
        ("/%73tatus", 400),
        ("/upstream/a%20b", 400),
        ("/STATUS", 404),
        ("/", 404),
        ("/healthz", 200),
        ("/metrics", 200),
    ] {
        assert_eq!(
            get(world.admin, "admin", path).await.status.as_u16(),
            status,
            "{path}"
        );
    }
    let large = "x".repeat((1 << 20) + 1);
    assert_eq!(
        send(world.admin, "admin", "PUT", "/upstream/x", &large)
            .await
            .status
            .as_u16(),
        413
    );
    world.stop().await;
}

#[tokio::test]
async fn a_masters_name_is_written_by_the_master_alone() {
    let world = World::new().await;
    let origin = Origin::start("a").await;
    world.apply(doc(1, vec![server("web-1", origin.port())]));
    let body = json!({"servers": [{"host": "127.0.0.1", "port": 1}]}).to_string();
    for method in ["PUT", "DELETE"] {
        let (status, reply) = write(&world, method, "/upstream/web.example", &body).await;
        assert_eq!(status, 409);
        assert!(
            reply["msg"].as_str().unwrap().contains("owned by app web"),
            "{reply}"
        );
    }
    assert_eq!(get(world.proxy, WEB, "/").await.body, "a");
    let status = json_of(&world, "/status").await;
    assert_eq!(status["hancock"]["services"][WEB]["seen"], 1);
    assert_eq!(
        status["cls:web.example"][0][0]["hancock"]["instance"],
        "web-1"
    );
    // A request is counted after its answer has left.
    let counted = "hancock_requests_total{service=\"web.example\",class=\"2xx\"} 1";
    wait_for_async("the count", PATIENCE, || async {
        let metrics = get(world.admin, "admin", "/metrics").await.body;
        if metrics.contains(counted) {
            Ok(())
        } else {
            Err(metrics)
        }
    })
    .await;
    world.stop().await;
}
