#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use crate::app::AppSpec;
use crate::upstream::UpstreamDoc;

fn spec(host: &str, proxy: Value) -> Result<AppSpec, Vec<String>> {
    let spec = json!({
        "app": "web", "command": ["/bin/web"], "ports": [{"name": "http"}],
        "service": [{"hosts": [host], "proxy": proxy}],
    });
    let told = |p: crate::app::Problem| format!("{}: {}", p.path, p.message);
    AppSpec::decode(&spec).map_err(|problems| problems.into_iter().map(told).collect())
}

#[test]
fn every_field_reaches_the_document_in_its_units() {
    let decoded = spec(
        "web.example/api",
        json!({
            "strip_prefix": true, "connect_timeout": "500ms", "send_timeout": "10s", "read_timeout": "2m",
            "session_timeout": "1h", "body_timeout": "30s", "keepalive_timeout": "0s", "max_body": "10MiB",
            "attempts": 1, "retry_timeout": "2s", "trusted_proxies": ["10.0.0.0/8", "::1"],
            "forwarded_for": "replace", "forwarded_proto": true, "forwarded_host": false,
            "sticky": {"cookie": "srv", "max_age": "1h", "secure": true, "same_site": "none"},
            "no_peer": {"status": 503, "content_type": "text/html", "body": "<p>later"},
        }),
    )
    .unwrap();
    assert_eq!(decoded.service[0].hosts, ["web.example/api"]);
    let again: AppSpec = serde_json::from_str(&decoded.canonical()).unwrap();
    assert_eq!(again, decoded);
    let doc = UpstreamDoc {
        proxy: Some(decoded.service[0].proxy.as_ref().unwrap().document()),
        ..UpstreamDoc::default()
    };
    assert_eq!(
        serde_json::to_value(&doc).unwrap()["proxy"],
        json!({
            "strip_prefix": true, "connect_timeout": 0.5, "send_timeout": 10, "read_timeout": 120,
            "session_timeout": 3600, "body_timeout": 30, "keepalive_timeout": 0, "max_body": 10 << 20,
            "attempts": 1, "retry_timeout": 2, "trusted_proxies": ["10.0.0.0/8", "::1"],
            "forwarded_for": "replace", "forwarded_proto": true, "forwarded_host": false,
            "sticky": {"cookie": "srv", "max_age": 3600, "secure": true, "same_site": "none"},
            "no_peer": {"status": 503, "content_type": "text/html", "body": "<p>later"},
        })
    );
}

#[test]
fn what_is_left_out_is_not_written() {
    let decoded = spec("web.example", json!({})).unwrap();
    let empty = serde_json::to_value(decoded.service[0].proxy.as_ref().unwrap().document());
    assert_eq!(empty.unwrap(), json!({}));
    let text = r#"{"app": "web", "command": ["a"], "ports": [{"name": "http"}], "service": [{"hosts": ["a.b"]}]}"#;
    let plain = AppSpec::decode(&serde_json::from_str(text).unwrap()).unwrap();
    assert!(plain.service[0].proxy.is_none() && !plain.canonical().contains("proxy"));
}

#[test]
fn mistakes_name_the_field() {
    for (proxy, path) in [
        (json!(5), ""),
        (json!({"read_timeout": 5}), ".read_timeout"),
        (json!({"read_timeout": "0s"}), ".read_timeout"),
        (json!({"read_timeout": "2d"}), ".read_timeout"),
        (json!({"raed_timeout": "2s"}), ".raed_timeout"),
        (json!({"max_body": 10}), ".max_body"),
        (json!({"max_body": "0B"}), ".max_body"),
        (json!({"max_body": "2GiB"}), ".max_body"),
        (json!({"attempts": 0}), ".attempts"),
        (json!({"sticky": true}), ".sticky"),
        (json!({"sticky": {}}), ".sticky.cookie"),
        (json!({"sticky": {"cookie": "a b"}}), ".sticky.cookie"),
        (
            json!({"sticky": {"cookie": "a", "secret": "s"}}),
            ".sticky.secret",
        ),
        (
            json!({"sticky": {"cookie": "a", "same_site": "none"}}),
            ".sticky.same_site",
        ),
        (
            json!({"trusted_proxies": ["::1", "10.0.0.0/33"]}),
            ".trusted_proxies[1]",
        ),
        (
            json!({"trusted_proxies": ["::ffff:10.0.0.0/104"]}),
            ".trusted_proxies[0]",
        ),
        (json!({"forwarded_for": "no"}), ".forwarded_for"),
        (json!({"strip_prefix": true}), ".strip_prefix"),
        (json!({"no_peer": {"status": 304}}), ".no_peer.status"),
        (
            json!({"no_peer": {"body": "x".repeat(16_385)}}),
            ".no_peer.body",
        ),
        (
            json!({"no_peer": {"content_type": "a\nb"}}),
            ".no_peer.content_type",
        ),
    ] {
        let problems = spec("web.example", proxy.clone()).unwrap_err();
        let wanted = format!("service[0].proxy{path}: ");
        assert!(
            problems.len() == 1 && problems[0].starts_with(&wanted),
            "{proxy}: {problems:?}"
        );
    }
}

#[test]
fn hosts_may_have_a_path() {
    for (host, fits) in [
        ("web.example/api", true),
        ("web.example/api/v2.1_x~", true),
        ("web.example/", false),
        ("web.example/api/", false),
        ("web.example//api", false),
        ("web.example/a/../b", false),
        ("web.example/a?b", false),
        ("web.example/a b", false),
        ("web.example/%61", false),
        ("Web.example/api", false),
        ("store/api", false),
        ("/api", false),
    ] {
        let problems = spec(host, json!({})).err().unwrap_or_default();
        assert_eq!(problems.is_empty(), fits, "{host}: {problems:?}");
        assert!(
            fits || problems[0].starts_with("service[0].hosts[0]: "),
            "{problems:?}"
        );
    }
}
