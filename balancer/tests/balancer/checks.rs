//! Active checks: mysql and redis with real servers, and rounds. `/status` shows what they find.

mod mysql;
mod redis;
mod rounds;

use hancock_testkit::fixture::{Server, missing};
use hancock_testkit::skip::{skip, test_name};
use hancock_testkit::wait::wait_for_async;
use serde_json::{Value, json};

use crate::client::{PATIENCE, get};
use crate::world::{WEB, World, plain};

/// For each step of a check. Long enough for a machine at work, short enough to wait for.
const STEP: f64 = 1.0;

/// Whether `program` is here; its absence is recorded.
fn installed(program: &str) -> bool {
    let reason = missing(program);
    if let Some(reason) = &reason {
        skip(&test_name(), reason);
    }
    reason.is_none()
}

/// A balancer that checks these servers, with further members of the document.
async fn checking(servers: &[&Server], members: Value) -> World {
    let world = World::new().await;
    check(&world, servers, members);
    world
}

fn check(world: &World, servers: &[&Server], members: Value) {
    let servers: Vec<Value> = servers
        .iter()
        .map(|s| json!({"host": "127.0.0.1", "port": s.address.port()}))
        .collect();
    // Without protection one peer alone has a bad verdict as well.
    let mut doc = json!({"timeout": STEP, "protected": false, "cluster": [{"servers": servers}]});
    let members = members.as_object().cloned().unwrap_or_default();
    doc.as_object_mut().unwrap().extend(members);
    world.apply(plain(doc));
}

/// Waits until peer number `at` has this verdict for this reason (None: for no reason), and gives its entry.
async fn until(world: &World, at: usize, verdict: &str, reason: Option<&str>) -> Value {
    let what = format!("peer {at} to be {verdict} ({reason:?})");
    wait_for_async(&what, PATIENCE, || async {
        let page = get(world.admin, "admin", "/status").await.body;
        let status: Value = serde_json::from_str(&page).unwrap();
        let peer = &status[format!("cls:{WEB}")][0][at];
        let checked = peer["fail_num"].is_u64();
        if checked && peer["status"] == verdict && peer["msg"].as_str() == reason {
            Ok(peer.clone())
        } else {
            Err(peer.to_string())
        }
    })
    .await
}
