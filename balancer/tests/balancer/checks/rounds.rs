//! Rounds of checks: what one of them knows, what it keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hancock_balancer::probe::{Answer, Probe, Prober};
use hancock_balancer_core::health::ProbeResult;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::until;
use crate::client::{PATIENCE, get};
use crate::origin::Origin;
use crate::tcp::peer::Peer;
use crate::world::{WEB, World, plain};

async fn page(world: &World) -> Value {
    let page = get(world.admin, "admin", "/status").await.body;
    serde_json::from_str(&page).unwrap()
}

fn servers(ports: &[u16]) -> Value {
    ports
        .iter()
        .map(|port| json!({"host": "127.0.0.1", "port": port}))
        .collect()
}

/// Fails every probe until it is closed; then none ever ends.
#[derive(Default)]
struct Gate(AtomicBool);

#[async_trait::async_trait]
impl Prober for Gate {
    async fn probe(&self, _: &Probe) -> Answer {
        if self.0.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        ProbeResult::Failed(Some("on purpose".to_owned())).into()
    }
}

#[tokio::test]
async fn verdicts_stay_with_name_host_and_port_whatever_becomes_of_the_list() {
    let gate = Arc::new(Gate::default());
    let world = World::with_prober(gate.clone()).await;
    let listed = |ports: &[u16]| plain(json!({"cluster": [{"servers": servers(ports)}]}));
    world.apply(listed(&[1, 2]));
    until(&world, 0, "unstable", Some("on purpose")).await;
    until(&world, 1, "err", Some("on purpose")).await;
    gate.0.store(true, Ordering::SeqCst);
    let verdicts = async || {
        let level = page(&world).await[format!("cls:{WEB}")][0].clone();
        let words = level.as_array().unwrap().iter();
        words.map(|peer| peer["status"].clone()).collect::<Vec<_>>()
    };
    // Another order, and one that was never probed: it counts as good.
    world.apply(listed(&[2, 3, 1]));
    assert_eq!(verdicts().await, ["err", "ok", "unstable"]);
    let mut changed = world.handle.changed();
    let before = *changed.borrow_and_update();
    world.handle.apply(WEB, None).unwrap();
    // The deletion, and that nothing is left of the service.
    let gone = changed.wait_for(|changes| *changes >= before + 2);
    timeout(PATIENCE, gone).await.unwrap().unwrap();
    world.apply(listed(&[1, 2]));
    assert_eq!(verdicts().await, ["unstable", "err"]);
    world.stop().await;
}

#[tokio::test]
async fn one_address_has_a_verdict_under_each_name() {
    let origin = Origin::start("a").await;
    let world = World::new().await;
    let asking = |statuses: Value| {
        let opts = json!({"query": "GET / HTTP/1.0\r\n\r\n", "statuses": statuses});
        let level = json!({"servers": servers(&[origin.port()])});
        plain(json!({"typ": "http", "http_opts": opts, "protected": false, "cluster": [level]}))
    };
    let other = Arc::new(asking(json!({"200": true})));
    world.handle.apply("other.example", Some(other)).unwrap();
    world.apply(asking(json!({"200": false})));
    until(&world, 0, "err", Some("bad status code")).await;
    let peer = page(&world).await["cls:other.example"][0][0].clone();
    assert_eq!(
        (&peer["status"], &peer["msg"]),
        (&json!("ok"), &Value::Null)
    );
    world.stop().await;
}

#[tokio::test]
async fn a_good_result_counts_at_once_and_a_bad_one_with_its_round() {
    let silent = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let (good, dead) = (Origin::start("a").await, Origin::start("dead").await);
    let ports = [silent.port, dead.port(), good.port()];
    dead.kill().await;
    let world = World::new().await;
    let opts = json!({"query": "GET / HTTP/1.0\r\n\r\n"});
    let level = json!({"servers": servers(&ports)});
    world.apply(plain(
        json!({"typ": "http", "http_opts": opts, "timeout": 2, "cluster": [level]}),
    ));
    let mut early = false;
    loop {
        let level = page(&world).await[format!("cls:{WEB}")][0].clone();
        let probed = [0, 1, 2].map(|at: usize| level[at]["fail_num"].is_u64());
        match probed {
            // The refused one was known long ago, and so was the good one.
            [false, true, _] => panic!("judged before the round was over: {level}"),
            [false, false, good] => early |= good,
            [true, refused, good] => {
                assert!(refused && good && early, "{level}");
                break;
            }
        }
    }
    world.stop().await;
}
