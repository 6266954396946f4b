//! Modes beyond the original's, over real connections.

use std::collections::{BTreeMap, BTreeSet};

use hancock_testkit::wait::wait_for_async;
use serde_json::{Value, json};

use crate::client::{PATIENCE, get};
use crate::origin::Origin;
use crate::world::{WEB, World, plain};

async fn serving(mode: &str) -> (World, [Origin; 2]) {
    let world = World::new().await;
    let origins = [Origin::start("a").await, Origin::start("b").await];
    let servers = origins
        .each_ref()
        .map(|o| json!({"host": "127.0.0.1", "port": o.port()}));
    let doc = json!({"mode": mode, "enable": false, "cluster": [{"servers": servers}]});
    world.apply(plain(doc));
    (world, origins)
}

/// A request stays open on one of the two, whichever it is; the next one goes to the other.
#[tokio::test]
async fn a_busy_peer_is_left_alone() {
    for mode in ["least_conn", "p2c"] {
        let (world, origins) = serving(mode).await;
        let proxy = world.proxy;
        let parked = tokio::spawn(async move { get(proxy, WEB, "/slow").await });
        wait_for_async("the parked request", PATIENCE, || async {
            let hits = origins.each_ref().map(Origin::hits);
            (hits != [0, 0]).then_some(()).ok_or(format!("{hits:?}"))
        })
        .await;
        let free = if origins[0].hits() == 0 { "a" } else { "b" };
        assert_eq!(get(proxy, WEB, "/").await.body, free, "{mode}");
        origins.iter().for_each(|o| o.release(1));
        assert_ne!(parked.await.unwrap().body, free, "{mode}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_path_keeps_its_peer_in_maglev() {
    let (world, _origins) = serving("maglev").await;
    let mut homes = BTreeMap::new();
    for _ in 0..2 {
        for n in 0..40 {
            let answer = get(world.proxy, WEB, &format!("/{n}?q={}", homes.len())).await;
            let home = homes.entry(n).or_insert_with(|| answer.body.clone());
            assert_eq!(*home, answer.body, "path {n}");
        }
    }
    let used: BTreeSet<_> = homes.into_values().collect();
    assert_eq!(used.len(), 2, "forty paths on two peers");
    world.stop().await;
}

#[tokio::test]
async fn the_status_document_names_the_mode() {
    for (mode, shown) in [
        ("p2c", json!("p2c")),
        ("maglev", json!("url_maglev")),
        ("rr", Value::Null),
    ] {
        let (world, _origins) = serving(mode).await;
        let status = get(world.admin, "localhost", "/status").await.body;
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["hancock"]["modes"][WEB], shown, "{status}");
        world.stop().await;
    }
}
