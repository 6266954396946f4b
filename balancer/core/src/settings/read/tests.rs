use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::upstream::Upstream;

fn named(name: &str, proxy: Value) -> Result<Arc<Settings>, String> {
    let doc = json!({"cluster": [{"servers": [{"host": "10.0.0.1", "port": 80}]}], "proxy": proxy});
    let doc = serde_json::from_value(doc).map_err(|e| e.to_string())?;
    let upstream = Upstream::new(name, Arc::new(doc)).map_err(|e| e.to_string())?;
    Ok(upstream.settings)
}

fn settings(proxy: Value) -> Result<Arc<Settings>, String> {
    named("web", proxy)
}

#[test]
fn what_is_left_out_is_as_in_the_original() {
    let said = settings(json!({})).expect("valid");
    assert_eq!(said, settings(Value::Null).expect("valid"));
    let peer = said.peer;
    let seconds = [peer.connect, peer.send, peer.read, peer.session, peer.pool];
    assert_eq!(seconds.map(|s| s.as_secs()), [3, 60, 60, 86_400, 60]);
    assert_eq!(said.client.keepalive, Duration::from_secs(15));
    assert_eq!(said.body.most, 1 << 30);
    assert_eq!((said.retry.attempts, said.retry.refused), (2, 2));
    assert_eq!(said.retry.budget, Duration::from_secs(5));
    assert_eq!(said.forwarding, Forwarding::default());
    assert!(said.route.is_none() && said.sticky.is_none() && said.no_peer.is_none());
}

#[test]
fn what_is_said_holds() {
    let said = settings(json!({
        "route": "web.example/api", "strip_prefix": true,
        "connect_timeout": 0.5, "read_timeout": 7, "keepalive_timeout": 0,
        "max_body": 10, "body_min_rate": 0, "attempts": 4, "retry_timeout": 1,
        "sticky": {"cookie": "srv", "secret": "s", "max_age": 60, "secure": true, "same_site": "none"},
        "trusted_proxies": ["10.0.0.0/8"], "forwarded_for": "replace", "forwarded_proto": true,
        "no_peer": {"status": 503, "content_type": "text/html", "body": "<p>later"},
    }))
    .expect("valid");
    let route = said.route.as_ref().expect("a route");
    assert_eq!(
        (&*route.host, &*route.prefix, route.strip),
        ("web.example", "/api", true)
    );
    assert_eq!(said.peer.connect, Duration::from_millis(500));
    assert_eq!(
        (said.peer.read.as_secs(), said.peer.send.as_secs()),
        (7, 60)
    );
    assert_eq!(said.client.keepalive, Duration::ZERO);
    assert_eq!((said.body.most, said.body.least_rate), (10, 0));
    assert_eq!((said.retry.attempts, said.retry.refused), (4, 4));
    let set = said.sticky.as_ref().expect("a cookie").set(1);
    let wanted = "srv=0000000000000001; Path=/api; Max-Age=60; HttpOnly; Secure; SameSite=None";
    assert_eq!(set, wanted);
    assert!(said.forwarding.replace && said.forwarding.proto && !said.forwarding.host);
    let answer = said.no_peer.as_ref().expect("an answer");
    assert_eq!((answer.status, &*answer.body), (503, "<p>later"));
}

#[test]
fn mistakes_name_the_member() {
    let long = "x".repeat(MAX_ANSWER + 1);
    for (proxy, field) in [
        (json!({"route": "web.example"}), "proxy.route"),
        (json!({"route": "/api"}), "proxy.route"),
        (json!({"strip_prefix": true}), "proxy.strip_prefix"),
        (json!({"connect_timeout": 0}), "proxy.connect_timeout"),
        (json!({"read_timeout": -1}), "proxy.read_timeout"),
        (json!({"send_timeout": 1e9}), "proxy.send_timeout"),
        (json!({"keepalive_timeout": -1}), "proxy.keepalive_timeout"),
        (json!({"max_body": 1u64 << 40}), "proxy.max_body"),
        (json!({"attempts": 0}), "proxy.attempts"),
        (json!({"attempts": 99}), "proxy.attempts"),
        (json!({"sticky": {"cookie": "srv"}}), "proxy.sticky.secret"),
        (
            json!({"sticky": {"cookie": "a b", "secret": "s"}}),
            "proxy.sticky.cookie",
        ),
        (
            json!({"sticky": {"cookie": "a", "secret": "s", "path": "x"}}),
            "proxy.sticky.path",
        ),
        (
            json!({"sticky": {"cookie": "a", "secret": "s", "same_site": "none"}}),
            "proxy.sticky.same_site",
        ),
        (
            json!({"trusted_proxies": ["::1", "nobody"]}),
            "proxy.trusted_proxies[1]",
        ),
        (json!({"no_peer": {"status": 100}}), "proxy.no_peer.status"),
        (json!({"no_peer": {"status": 204}}), "proxy.no_peer.status"),
        (json!({"no_peer": {"body": long}}), "proxy.no_peer.body"),
        (
            json!({"no_peer": {"content_type": "a\r\nb: c"}}),
            "proxy.no_peer.content_type",
        ),
    ] {
        let error = settings(proxy.clone()).expect_err(field);
        assert!(error.starts_with(&format!("{field}: ")), "{proxy}: {error}");
    }
}

#[test]
fn a_name_may_be_a_route_itself() {
    let said = named("web.example/api", Value::Null).expect("valid");
    assert_eq!(said.route.as_ref().map(|r| &*r.prefix), Some("/api"));
    let error = named("web.example/", Value::Null).expect_err("no path");
    assert!(error.starts_with("name: "), "{error}");
}
