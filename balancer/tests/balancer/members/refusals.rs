//! Members that make no sense are refused by the management interface, by name.

use serde_json::{Value, json};

use crate::client::{get, send};
use crate::origin::Origin;
use crate::world::{WEB, World};

async fn put(world: &World, proxy: Value, port: u16) -> (u16, String) {
    let body = json!({"servers": [{"host": "127.0.0.1", "port": port}], "proxy": proxy});
    let path = format!("/upstream/{WEB}");
    let answer = send(world.admin, "admin", "PUT", &path, &body.to_string()).await;
    let reply: Value = serde_json::from_str(&answer.body).unwrap();
    let msg = reply["msg"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), msg)
}

#[tokio::test]
async fn a_bad_member_is_named_and_changes_nothing() {
    let origin = Origin::start("a").await;
    let world = World::new().await;
    assert_eq!(
        put(&world, json!({"attempts": 3}), origin.port()).await.0,
        200
    );
    for (proxy, path) in [
        (json!(5), "proxy: "),
        (json!({"max_body": "1m"}), "proxy.max_body: "),
        (json!({"max_body": -1}), "proxy.max_body: "),
        (json!({"read_timeout": "5s"}), "proxy.read_timeout: "),
        (json!({"read_timeout": 0}), "proxy.read_timeout: "),
        (
            json!({"connect_timeuot": 1}),
            "proxy.connect_timeuot: unknown member",
        ),
        (json!({"attempts": 1.5}), "proxy.attempts: "),
        (json!({"attempts": 0}), "proxy.attempts: "),
        (json!({"sticky": true}), "proxy.sticky: "),
        (json!({"sticky": {}}), "proxy.sticky: "),
        (
            json!({"sticky": {"cookie": "srv"}}),
            "proxy.sticky.secret: ",
        ),
        (
            json!({"sticky": {"cookie": "a", "x": 1}}),
            "proxy.sticky.x: unknown member",
        ),
        (
            json!({"sticky": {"cookie": "a", "same_site": "no"}}),
            "proxy.sticky.same_site: ",
        ),
        (
            json!({"trusted_proxies": "10.0.0.0/8"}),
            "proxy.trusted_proxies: ",
        ),
        (
            json!({"trusted_proxies": ["10/8"]}),
            "proxy.trusted_proxies[0]: ",
        ),
        (json!({"forwarded_for": "never"}), "proxy.forwarded_for: "),
        (
            json!({"no_peer": {"status": 999}}),
            "proxy.no_peer.status: ",
        ),
        (
            json!({"no_peer": {"body": "x".repeat(20_000)}}),
            "proxy.no_peer.body: ",
        ),
        (
            json!({"no_peer": {"content_type": "a\nb"}}),
            "proxy.no_peer.content_type: ",
        ),
        (json!({"route": "web.example"}), "proxy.route: "),
        (json!({"strip_prefix": true}), "proxy.strip_prefix: "),
    ] {
        let (status, msg) = put(&world, proxy.clone(), origin.port()).await;
        assert_eq!(status, 400, "{proxy}: {msg}");
        assert!(msg.contains(path), "{proxy}: {msg}");
    }
    let stored: Value =
        serde_json::from_str(&get(world.admin, "admin", "/upstreams").await.body).unwrap();
    assert_eq!(stored[WEB]["proxy"], json!({"attempts": 3}));
    world.stop().await;
}

#[tokio::test]
async fn members_are_echoed_as_they_were_written() {
    let origin = Origin::start("a").await;
    let world = World::new().await;
    let proxy = json!({
        "connect_timeout": 0.5, "read_timeout": 7, "max_body": 1024, "forwarded_for": "append",
        "sticky": {"cookie": "srv", "secret": "s", "same_site": "strict"},
        "no_peer": {"status": 503, "body": "later"}, "trusted_proxies": ["::1"],
    });
    assert_eq!(
        put(&world, proxy.clone(), origin.port()).await,
        (200, String::new())
    );
    // Options of an earlier document stay when a later one, in the short form, does not name them.
    let body = json!({"servers": [{"host": "127.0.0.1", "port": origin.port()}]}).to_string();
    send(
        world.admin,
        "admin",
        "PUT",
        &format!("/upstream/{WEB}"),
        &body,
    )
    .await;
    let stored: Value =
        serde_json::from_str(&get(world.admin, "admin", "/upstreams").await.body).unwrap();
    assert_eq!(stored[WEB]["proxy"], proxy);
    world.stop().await;
}
