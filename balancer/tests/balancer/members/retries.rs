//! `attempts`, and `no_peer`: what happens when peers do not answer.

use hyper::StatusCode;
use serde_json::json;

use super::{dead, serving};
use crate::client::{get, send};
use crate::origin::Origin;
use crate::world::WEB;

#[tokio::test]
async fn requests_are_tried_as_often_as_the_service_says() {
    let origin = Origin::start("a").await;
    let ports = [dead().await, dead().await, origin.port()];
    for (members, status) in [
        (json!({"attempts": 1}), StatusCode::BAD_GATEWAY),
        (json!({}), StatusCode::BAD_GATEWAY),
        (json!({"attempts": 3}), StatusCode::OK),
    ] {
        // A fresh list begins with its first server.
        let world = serving(&ports, members.clone()).await;
        let answer = get(world.proxy, WEB, "/").await;
        assert_eq!(answer.status, status, "{members}: {answer:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn without_retries_a_request_reaches_one_origin() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let world = serving(&[a.port(), b.port()], json!({"attempts": 1})).await;
    let answer = get(world.proxy, WEB, "/502").await;
    assert_eq!(answer.body, "bad a");
    assert_eq!(b.hits(), 0);
    world.stop().await;
}

#[tokio::test]
async fn the_document_answers_when_nobody_can_be_reached() {
    let members = json!({"no_peer": {"status": 503, "content_type": "application/json", "body": "{\"later\":1}"}});
    let world = serving(&[dead().await], members).await;
    for method in ["GET", "POST", "HEAD"] {
        let answer = send(world.proxy, WEB, method, "/", "").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/json");
        let body = if method == "HEAD" {
            ""
        } else {
            "{\"later\":1}"
        };
        assert_eq!((answer.body.as_str(), answer.reason()), (body, "refused"));
    }
    world.stop().await;
}

#[tokio::test]
async fn an_origins_own_failure_is_not_excused() {
    let origin = Origin::start("a").await;
    let members = json!({"no_peer": {"status": 503, "body": "later"}});
    let world = serving(&[origin.port()], members).await;
    assert_eq!(get(world.proxy, WEB, "/502").await.body, "bad a");
    let lost = send(world.proxy, WEB, "POST", "/drop", "x").await;
    assert_eq!(
        (lost.status, lost.reason()),
        (StatusCode::BAD_GATEWAY, "lost")
    );
    world.stop().await;
}
