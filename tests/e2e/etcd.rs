//! A balancer that follows an etcd by itself: what it serves while the store is well, ill, away, wiped or lied to.

mod edge;
mod faults;
mod rollout;

use std::time::{Duration, Instant};

use hancock_proto::registry::Confirmation;
use hancock_testkit::etcd::Etcd;
use hancock_testkit::fixture::missing;
use hancock_testkit::lossy::Lossy;
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::skip::{skip, test_name};
use hancock_testkit::{http, wait, wait_for};

use crate::world::SOON;
use edge::{Edge, Origin};

/// Whether there is an etcd to test with.
pub(crate) fn can_run() -> bool {
    let reason = missing("etcd");
    if let Some(reason) = &reason {
        skip(&test_name(), reason);
    }
    reason.is_none()
}

const FENCE: &str = r#"{"cluster":"c","term":1}"#;

/// A store with a fence, and a service that answers `v1` from it.
fn served() -> (Etcd, Origin, Edge) {
    let etcd = Etcd::start();
    let origin = Origin::start("v1");
    etcd.put("edge/hancock/fence", FENCE);
    etcd.put("edge/upstreams/web", &origin.document());
    let edge = Edge::start(&etcd.url("edge"));
    edge.wait_answer("web", "v1");
    (etcd, origin, edge)
}

#[test]
fn what_was_good_is_served_within_a_second_while_etcd_is_down() {
    if !can_run() {
        return;
    }
    let (mut etcd, origin, mut edge) = served();
    let port = quiet_port();
    etcd.put(&format!("edge/upstreams_stream/{port}"), &origin.document());
    etcd.put("edge/upstreams/gone", &origin.document());
    edge.wait_answer("gone", "v1");
    let through = || http::get(local(port), "any", "/").map(drop);
    wait_for("the TCP service", SOON, through);
    edge.wait("all on disk", |r| (r["services"] == 3).then_some(()));

    etcd.crash_all();
    edge.crash();
    let begun = Instant::now();
    edge.spawn();
    edge.wait_answer("web", "v1");
    let took = begun.elapsed();
    println!("serving {took:.0?} after the start");
    assert!(took < Duration::from_secs(1), "{took:?}");
    wait_for("the TCP service", SOON, through);
    edge.wait("a registry that is away", |r| {
        let away = r["connected"] == false && r["revision"].is_null();
        (away && r["error"].is_string() && r["services"] == 3).then_some(())
    });
    let refused = edge.put("web", &origin.document());
    assert_eq!(refused.status, 409, "whose it is, is remembered");

    // What happened meanwhile is caught up with, a removal too.
    etcd.restart_all();
    etcd.delete("edge/upstreams/gone");
    edge.wait("the removal", |r| (r["services"] == 2).then_some(()));
    wait_for("nobody", SOON, || match edge.get("gone")?.status {
        502 => Ok(()),
        other => Err(other.to_string()),
    });
    edge.wait_answer("web", "v1");
}

#[test]
fn a_restart_of_etcd_is_nothing() {
    if !can_run() {
        return;
    }
    let (mut etcd, _origin, edge) = served();
    let second = Origin::start("v2");
    let load = edge.load("web");
    etcd.crash_all();
    edge.wait("it to be noticed", |r| {
        (r["connected"] == false).then_some(())
    });
    etcd.restart_all();
    etcd.put("edge/upstreams/web", &second.document());
    let healed = Instant::now();
    edge.wait_answer("web", "v2");
    assert!(
        healed.elapsed() < Duration::from_secs(5),
        "{:?}",
        healed.elapsed()
    );
    assert_eq!(edge.registry()["lists"], 1, "the watch went on");
    load.stop().assert_none_failed();
}

/// Connections stay half open and new ones lead nowhere: nobody is told, everybody has to notice.
#[test]
fn a_partition_of_half_a_minute_is_nothing() {
    if !can_run() {
        return;
    }
    let etcd = Etcd::start();
    let (first, second) = (Origin::start("v1"), Origin::start("v2"));
    etcd.put("edge/hancock/fence", FENCE);
    etcd.put("edge/upstreams/web", &first.document());
    let path = Lossy::to(etcd.addresses()[0]);
    let edge = Edge::start(&format!("etcd://{}/edge", path.address));
    edge.wait_answer("web", "v1");
    let load = edge.load("web");
    path.partition();
    let began = Instant::now();
    etcd.put("edge/upstreams/web", &second.document());
    edge.wait("the silence to be noticed", |r| {
        (r["connected"] == false).then_some(())
    });
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    let old = edge.wait("half a minute", |r| {
        r["age_ms"].as_u64().filter(|age| *age > 30_000)
    });
    assert!(edge.registry()["error"].is_string(), "{}", edge.registry());
    let metric = http::get(edge.admin, "admin", "/metrics").unwrap().body;
    assert!(metric.contains("hancock_registry_connected 0"), "{metric}");
    path.heal();
    let healed = Instant::now();
    edge.wait_answer("web", "v2");
    let took = healed.elapsed();
    println!("noticed, old for {old} ms, converged {took:?} after healing");
    assert!(took < Duration::from_secs(5), "converged after {took:?}");
    assert_eq!(edge.registry()["lists"], 1, "the watch went on");
    load.stop().assert_none_failed();
}

#[test]
fn a_wiped_store_empties_nothing() {
    if !can_run() {
        return;
    }
    let (mut etcd, origin, edge) = served();
    // Revisions of the new store begin below.
    (0..20).for_each(|n| etcd.put(&format!("other/{n}"), "x"));
    etcd.put("edge/upstreams/api", &origin.document());
    edge.wait_answer("api", "v1");
    let load = edge.load("web");
    etcd.wipe();
    edge.wait("a list that proves nothing", |r| {
        (r["lists"] == 2 && r["orphaned"] == 2).then_some(())
    });
    edge.wait_answer("api", "v1");
    // Not with a fence either, and not when others have written more than there ever was.
    etcd.put("edge/hancock/fence", FENCE);
    edge.crash_of(&mut etcd);
    edge.wait("another list", |r| {
        (r["lists"] == 3 && r["orphaned"] == 2).then_some(())
    });
    let second = Origin::start("v2");
    etcd.put("edge/upstreams/web", &second.document());
    edge.wait_answer("web", "v2");
    edge.wait_answer("api", "v1");
    load.stop().assert_none_failed();
}

#[test]
fn a_store_set_back_while_the_balancer_is_away_empties_nothing() {
    if !can_run() {
        return;
    }
    let (mut etcd, origin, mut edge) = served();
    etcd.crash_all();
    etcd.copy("then");
    etcd.restart_all();
    etcd.put("edge/upstreams/api", &origin.document());
    edge.wait_answer("api", "v1");
    edge.wait("all on disk", |r| (r["services"] == 2).then_some(()));
    edge.crash();
    etcd.crash_all();
    etcd.set_back("then");
    etcd.restart_all();
    // Past every revision there was: by that alone the list would prove that the service is gone.
    (0..20).for_each(|n| etcd.put(&format!("other/{n}"), "x"));
    edge.spawn();
    edge.wait("a list that proves nothing", |r| {
        (r["lists"] == 1 && r["orphaned"] == 1).then_some(())
    });
    edge.wait_answer("api", "v1");
    edge.wait_answer("web", "v1");
}

#[test]
fn compaction_is_overcome_by_a_list() {
    if !can_run() {
        return;
    }
    let (mut etcd, origin, edge) = served();
    etcd.put("edge/upstreams/gone", &origin.document());
    edge.wait_answer("gone", "v1");
    let second = Origin::start("v2");
    edge.while_behind(&mut etcd, |etcd| {
        etcd.delete("edge/upstreams/gone");
        etcd.put("edge/upstreams/web", &second.document());
    });
    edge.wait_answer("web", "v2");
    edge.wait("a second list", |r| {
        (r["lists"] == 2 && r["services"] == 1).then_some(())
    });
    assert_eq!(edge.get("gone").unwrap().status, 502, "no longer known");
}

#[test]
fn a_bad_document_leaves_the_good_one_alone() {
    if !can_run() {
        return;
    }
    let (etcd, origin, edge) = served();
    let before = edge.registry()["lists"].clone();
    for (bad, told) in [
        ("{", "no JSON object"),
        (r#"{"servers":[{"host":"127.0.0.1"}]}"#, "port"),
        (
            r#"{"servers":[{"host":"127.0.0.1","port":1}],"timeout":-1}"#,
            "timeout",
        ),
    ] {
        etcd.put("edge/upstreams/web", bad);
        edge.wait("the refusal", |r| {
            let problem = r["refused"]["web"].as_str()?;
            problem.contains(told).then_some(())
        });
        assert_eq!(edge.get("web").unwrap().first_word(), "v1");
    }
    let metrics = http::get(edge.admin, "admin", "/metrics").unwrap().body;
    assert!(metrics.contains("\nhancock_registry_unserved 1\n"));
    // Neighbours go on, and the next good one is served.
    etcd.put("edge/upstreams/api", &origin.document());
    edge.wait_answer("api", "v1");
    let second = Origin::start("v2");
    etcd.put("edge/upstreams/web", &second.document());
    edge.wait_answer("web", "v2");
    let standing = edge.wait("no refusal", |r| {
        r["refused"].as_object()?.is_empty().then(|| r.clone())
    });
    assert_eq!(standing["lists"], before);
    // What cannot be read is not absent for who begins with a list either.
    etcd.put("edge/upstreams/web", "[");
    edge.wait("the refusal", |r| r["refused"]["web"].as_str().map(drop));
    let mut edge = edge;
    edge.crash();
    edge.spawn();
    edge.wait("a list", |r| {
        (r["connected"] == true && r["refused"]["web"].is_string()).then_some(())
    });
    edge.wait_answer("web", "v2");
}

#[test]
fn names_of_the_registry_are_not_written_past_it() {
    if !can_run() {
        return;
    }
    let (etcd, origin, edge) = served();
    for refused in [edge.put("web", &origin.document()), edge.delete("web")] {
        assert_eq!(refused.status, 409);
        assert!(
            refused.body.contains(&etcd.url("edge")),
            "names the owner: {}",
            refused.body
        );
    }
    // Others are free, until the registry has them.
    assert_eq!(edge.put("own", &origin.document()).status, 200);
    edge.wait_answer("own", "v1");
    let second = Origin::start("v2");
    etcd.put("edge/upstreams/own", &second.document());
    edge.wait_answer("own", "v2");
    assert_eq!(edge.put("own", &origin.document()).status, 409);
    etcd.delete("edge/upstreams/own");
    wait_for("a free name", SOON, || {
        match edge.put("own", &origin.document()).status {
            200 => Ok(()),
            other => Err(other),
        }
    });
}

#[test]
fn a_reader_is_known_until_it_ends() {
    if !can_run() {
        return;
    }
    let (etcd, _origin, mut edge) = served();
    let reader = edge.kept("reader");
    let key = format!("edge/hancock/readers/{reader}");
    let told = |wanted: u64| {
        wait_for("a confirmation", SOON, || {
            let text = etcd.get(&key).ok_or("none")?;
            let told: Confirmation = serde_json::from_str(&text).map_err(|_| "unreadable")?;
            let done = told.revision.0 >= wanted && told.open.is_empty();
            done.then_some(told).ok_or("older")
        })
    };
    let first = told(3);
    assert_eq!(first.reader, reader);
    assert_eq!(first.node.as_str(), edge.kept("node"));
    let second = Origin::start("v2");
    etcd.put("edge/upstreams/web", &second.document());
    edge.wait_answer("web", "v2");
    wait_for("its confirmation", SOON, || {
        let now = told(0).revision;
        if now > first.revision {
            Ok(())
        } else {
            Err(now)
        }
    });
    edge.terminate();
    let farewell = etcd.get(&key).expect("until its lease ends");
    let farewell: Confirmation = serde_json::from_str(&farewell).unwrap();
    assert!(farewell.ended, "told at once, not when the lease ends");
}

#[test]
fn a_wrong_registry_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    for (args, told) in [
        (&["--registry", "http://a"][..], "etcd://"),
        (&["--registry", "etcd://me@a/x"], "--registry-password-file"),
        (&["--registry-ca", "x"], "--registry URL"),
        (
            &["--registry", "etcd://a", "--registry-ca", "/nonexistent"],
            "/nonexistent",
        ),
    ] {
        let refused = edge::refused(dir.path(), args);
        assert!(refused.contains(told), "{refused}");
        assert!(refused.contains("--registry"), "{refused}");
    }
}

#[test]
fn equal_data_swaps_nothing() {
    if !can_run() {
        return;
    }
    let (mut etcd, origin, edge) = served();
    let version = || edge.status()["shd_config_version"].clone();
    let before = version();
    etcd.put("edge/upstreams/web", &origin.document());
    edge.while_behind(&mut etcd, |etcd| {
        (0..2).for_each(|_| etcd.put("edge/upstreams/web", &origin.document()));
    });
    edge.wait("a second list", |r| (r["lists"] == 2).then_some(()));
    wait::stays("the version", Duration::from_secs(1), || {
        let now = version();
        if now == before { Ok(()) } else { Err(now) }
    });
}
