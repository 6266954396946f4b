//! What is counted, and how it is told.

mod strict;

use std::sync::Arc;

use hancock_testkit::wait::wait_for_async;
use serde_json::json;

use crate::client::{Client, PATIENCE, get, send};
use crate::origin::Origin;
use crate::tcp::{TcpWorld, quiet_port};
use crate::world::{WEB, World, plain};
use strict::Samples;

async fn samples(admin: std::net::SocketAddr) -> Samples {
    let page = get(admin, "admin", "/metrics").await.body;
    strict::read(&page).unwrap_or_else(|why| panic!("{why}\n{page}"))
}

/// Waits until a series has a value.
pub async fn until(
    admin: std::net::SocketAddr,
    series: &str,
    wanted: impl Fn(f64) -> bool,
) -> Samples {
    wait_for_async(series, PATIENCE, || async {
        let samples = samples(admin).await;
        match samples.get(series) {
            Some(value) if wanted(value) => Ok(samples),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn requests_are_counted_by_service_status_and_peer() {
    let origin = Origin::start("a").await;
    let world = World::new().await;
    world.apply(plain(json!({
        "enable": false,
        "cluster": [{"servers": [{"host": "127.0.0.1", "port": origin.port()}]}],
    })));
    let mut client = Client::connect(world.proxy, WEB).await;
    for path in ["/", "/", "/502"] {
        client.get(path).await.unwrap();
    }
    let _ = get(world.proxy, "nobody.example", "/").await;
    let class = |class: &str| format!("{{service=\"{WEB}\",class=\"{class}\"}}");
    let series = format!("hancock_requests_total{}", class("5xx"));
    let told = until(world.admin, &series, |n| n == 1.0).await;
    let of = |name: &str| told.get(name);
    assert_eq!(
        of(&format!("hancock_requests_total{}", class("2xx"))),
        Some(2.0)
    );
    assert_eq!(of("hancock_requests_unknown_host_total"), Some(1.0));
    let peer = |class: &str| {
        format!(
            "hancock_peer_answers_total{{service=\"{WEB}\",peer=\"127.0.0.1:{}\",instance=\"\",class=\"{class}\"}}",
            origin.port()
        )
    };
    assert_eq!((of(&peer("2xx")), of(&peer("5xx"))), (Some(2.0), Some(1.0)));
    let count = format!("hancock_request_duration_seconds_count{{service=\"{WEB}\"}}");
    assert_eq!(of(&count), Some(3.0));
    assert_eq!(of("hancock_connections_accepted_total"), Some(2.0));
    assert_eq!(of("hancock_peers_left_out"), Some(0.0));
    assert_eq!(of("hancock_unexpected_upstream_data_total"), Some(0.0));
    // Everything of a service goes with it.
    world.handle.apply(WEB, None).unwrap();
    assert_eq!(samples(world.admin).await.with(WEB), Vec::<&str>::new());
    world.stop().await;
}

#[tokio::test]
async fn failures_retries_bans_and_refusals_are_counted() {
    let origin = Origin::start("a").await;
    let dead = Origin::start("b").await;
    let gone = dead.port();
    dead.kill().await;
    let world = World::new().await;
    let doc = |servers: serde_json::Value| {
        plain(json!({"enable": false, "cluster": [{"servers": servers}]}))
    };
    let live = json!({"host": "127.0.0.1", "port": origin.port()});
    let down = json!({"host": "127.0.0.1", "port": gone, "max_fails": 1, "fail_timeout": 60});
    world.apply(doc(json!([down, live])));
    for _ in 0..4 {
        assert_eq!(get(world.proxy, WEB, "/").await.status.as_u16(), 200);
    }
    let _ = send(world.proxy, WEB, "TRACE", "/", "").await;
    let refused = "hancock_requests_refused_total{reason=\"method\"}";
    let told = until(world.admin, refused, |n| n == 1.0).await;
    let of = |name: &str| told.get(&format!("{name}{{service=\"{WEB}\"}}"));
    assert_eq!(of("hancock_bans_total"), Some(1.0));
    assert_eq!(of("hancock_retries_total"), Some(1.0));
    assert_eq!(of("hancock_swaps_total"), Some(1.0));
    assert!(of("hancock_index_age_seconds").is_some_and(|age| age < 60.0));
    let peer = format!("127.0.0.1:{gone}");
    assert!(!told.with(&peer).is_empty());
    // A peer's series go with the peer.
    world.apply(doc(json!([live])));
    assert_eq!(samples(world.admin).await.with(&peer), Vec::<&str>::new());
    world.stop().await;
}

#[tokio::test]
async fn checks_are_counted_by_kind_and_ports_by_their_state() {
    let origin = Origin::start("a").await;
    let world = TcpWorld::new().await;
    let doc = json!({
        "typ": "http",
        "http_opts": {"query": "GET / HTTP/1.0\r\n\r\n"},
        "cluster": [{"servers": [{"host": "127.0.0.1", "port": origin.port()}]}],
    });
    world.handle.apply(WEB, Some(Arc::new(plain(doc)))).unwrap();
    let port = quiet_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let peers =
        json!({"enable": false, "cluster": [{"servers": [{"host": "127.0.0.1", "port": 9}]}]});
    let conflict = world
        .handle
        .apply_tcp(&port.to_string(), Some(Arc::new(plain(peers))));
    assert!(conflict.is_err());
    let series = "hancock_probe_results_total{kind=\"http\",result=\"good\"}";
    let told = until(world.admin, series, |n| n >= 1.0).await;
    let open = format!("hancock_tcp_port_open{{port=\"{port}\"}}");
    assert_eq!(told.get(&open), Some(0.0));
    assert!(told.get("hancock_tcp_open_failures_total") >= Some(1.0));
    drop(taken);
    until(world.admin, &open, |n| n == 1.0).await;
    world.stop().await;
}
