//! `route` and `strip_prefix`: paths below a host that are services of their own.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;

use super::{document, exchange, serving, status};
use crate::client::get;
use crate::origin::Origin;
use crate::world::{WEB, World, doc, server};

impl World {
    fn put(&self, name: &str, port: u16, proxy: serde_json::Value) -> Result<(), String> {
        let doc = Some(Arc::new(document(&[port], proxy)));
        self.handle.apply(name, doc).map_err(|e| e.to_string())
    }

    async fn body(&self, path: &str) -> String {
        get(self.proxy, WEB, path).await.body
    }
}

#[tokio::test]
async fn the_longest_prefix_of_whole_segments_wins() {
    let mut origins = Vec::new();
    for name in ["root", "api", "v2"] {
        origins.push(Origin::start(name).await);
    }
    let world = serving(&[origins[0].port()], json!({})).await;
    let routes = [
        ("web-api", "web.example/api"),
        ("web-v2", "web.example/api/v2"),
    ];
    for ((name, route), origin) in routes.iter().zip(&origins[1..]) {
        world
            .put(name, origin.port(), json!({"route": route}))
            .unwrap();
    }
    for (path, name) in [
        ("/", "root"),
        ("/apis", "root"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api?v2", "api"),
        ("/api/v20/x", "api"),
        ("/api/v2", "v2"),
        ("/api/v2/x", "v2"),
        ("/api/%76%32/x", "v2"),
        ("//api//v2", "v2"),
        ("/api/../x", "root"),
        ("/api/v2/..%2fx", "api"),
    ] {
        assert_eq!(world.body(path).await, name, "{path}");
    }
    // Its name is no host any more.
    let answer = get(world.proxy, "web-api", "/api").await;
    assert_eq!(answer.reason(), "unknown_host");
    world.stop().await;
}

#[tokio::test]
async fn origins_are_sent_the_host_and_the_whole_path_unless_it_is_to_be_stripped() {
    let origin = Origin::start("a").await;
    let world = World::new().await;
    let port = origin.port();
    world
        .put("whole", port, json!({"route": "web.example/a/echo"}))
        .unwrap();
    let strip = json!({"route": "web.example/b", "strip_prefix": true});
    world.put("rest", port, strip).unwrap();
    let whole = world.body("/b/echo?x=%20y").await;
    assert!(whole.starts_with("GET /echo?x=%20y\n"), "{whole}");
    assert!(whole.contains("host: web.example\n"), "{whole}");
    // The origin knows no such path, so it says its name.
    assert_eq!(world.body("/a/echo").await, "a");
    assert_eq!(world.body("/b").await, "a");
    let nobody = get(world.proxy, WEB, "/").await;
    assert_eq!(
        (nobody.status, nobody.reason()),
        (StatusCode::BAD_GATEWAY, "unknown_host")
    );
    world.stop().await;
}

#[tokio::test]
async fn routes_move_and_go_with_their_documents() {
    let (root, api) = (Origin::start("root").await, Origin::start("api").await);
    let world = serving(&[root.port()], json!({})).await;
    let port = api.port();
    world
        .put("api", port, json!({"route": "web.example/v1"}))
        .unwrap();
    assert_eq!(world.body("/v1").await, "api");
    world
        .put("api", port, json!({"route": "web.example/v2"}))
        .unwrap();
    assert_eq!(
        (world.body("/v1").await, world.body("/v2").await),
        ("root".into(), "api".into())
    );
    world.put("api", port, json!({})).unwrap();
    assert_eq!(world.body("/v2").await, "root");
    assert_eq!(get(world.proxy, "api", "/").await.body, "api");
    world
        .put("api", port, json!({"route": "web.example/v1"}))
        .unwrap();
    world.handle.apply("api", None).unwrap();
    assert_eq!(world.body("/v1").await, "root");
    world.stop().await;
}

#[tokio::test]
async fn two_claims_of_one_path_are_refused_and_a_masters_counts() {
    let (a, b, c) = (
        Origin::start("a").await,
        Origin::start("b").await,
        Origin::start("c").await,
    );
    let world = World::new().await;
    let route = json!({"route": "web.example/api"});
    world.put("a", a.port(), route.clone()).unwrap();
    world.put("a", a.port(), route.clone()).unwrap();
    let refused = world.put("b", b.port(), route.clone()).unwrap_err();
    assert!(
        refused.contains("proxy.route: leads to upstream a"),
        "{refused}"
    );
    let owned = doc(1, vec![server("web-1", c.port())]);
    world
        .handle
        .apply("web.example/api", Some(Arc::new(owned)))
        .unwrap();
    assert_eq!(world.body("/api").await, "c");
    world.handle.apply("web.example/api", None).unwrap();
    assert_eq!(world.body("/api").await, "a");
    world.stop().await;
}

#[tokio::test]
async fn routes_survive_a_restart() {
    let (root, api) = (Origin::start("root").await, Origin::start("api").await);
    let world = serving(&[root.port()], json!({})).await;
    world
        .put("api", api.port(), json!({"route": "web.example/api"}))
        .unwrap();
    let world = World::start(world.stop().await, None).await;
    assert_eq!(world.body("/api/x").await, "api");
    assert_eq!(world.body("/x").await, "root");
    world.stop().await;
}

/// The engine's own reading refuses them; every other proxy hands them on.
#[tokio::test]
async fn bytes_that_cannot_stand_in_a_target_reach_origins_as_escapes() {
    let origin = Origin::start("a").await;
    let world = serving(&[origin.port()], json!({})).await;
    let request = "GET /echo?<a>=\"`\" HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n";
    let answer = exchange(&world, request).await;
    assert!(answer.contains("GET /echo?%3Ca%3E=%22`%22\n"), "{answer}");
    let request = "GET /<`> HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(&world, request).await), "200");
    world.stop().await;
}
