//! The cost of a change is the change's own, however many services there are: counted, not timed.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_proto::upstream::UpstreamDoc;
use hancock_testkit::wait::wait_for_async;
use serde_json::json;

use crate::client::{PATIENCE, get};
use crate::world::World;

const SERVICES: usize = 300;

fn document(port: u16) -> Arc<UpstreamDoc> {
    let server = |n: u16| json!({"host": format!("127.0.0.{n}"), "port": port});
    let servers: Vec<_> = (1..=4).map(server).collect();
    let doc = json!({"cluster": [{"servers": servers}], "enable": false});
    Arc::new(serde_json::from_value(doc).unwrap())
}

/// Views built so far, by service.
async fn views(world: &World) -> BTreeMap<String, u64> {
    let page = get(world.admin, "admin", "/metrics").await.body;
    let line = |line: &str| {
        let rest = line.strip_prefix("hancock_swaps_total{service=\"")?;
        let (name, count) = rest.split_once("\"} ")?;
        Some((name.to_owned(), count.parse().unwrap()))
    };
    page.lines().filter_map(line).collect()
}

/// What is on disk, as soon as it has this many lines.
async fn log(world: &World, lines: usize) -> String {
    wait_for_async("the log of applied documents", PATIENCE, || async {
        let text = std::fs::read_to_string(world.folder.path().join("last-good.log")).unwrap();
        match text.lines().count() {
            n if n == lines => Ok(text),
            n => Err(format!("{n} lines")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_change_builds_one_view_and_writes_one_line() {
    let world = World::new().await;
    for n in 0..SERVICES {
        let applied = world
            .handle
            .apply(&format!("s{n}.example"), Some(document(1)));
        applied.unwrap();
    }
    let (mut wanted, before) = (views(&world).await, log(&world, SERVICES + 1).await);
    assert_eq!(wanted.len(), SERVICES);

    world.handle.apply("s7.example", Some(document(2))).unwrap();
    *wanted.get_mut("s7.example").unwrap() += 1;
    assert_eq!(views(&world).await, wanted);
    let after = log(&world, SERVICES + 2).await;
    assert!(after.starts_with(&before), "the log was written anew");

    world.handle.apply("s8.example", None).unwrap();
    wanted.remove("s8.example");
    assert_eq!(views(&world).await, wanted);
    assert!(log(&world, SERVICES + 3).await.starts_with(&after));
}
