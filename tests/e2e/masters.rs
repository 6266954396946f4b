//! Several masters as processes of their own.

mod audit;
pub mod cluster;
mod comeback;
mod disk;
mod faults;
mod flood;
mod formats;
mod history;
mod steady;
mod strangers;

use std::time::Duration;

use hancock_testkit::wait::wait_for;
use nix::sys::signal::Signal;

use self::cluster::{Cluster, LATE, web};

#[test]
fn they_begin_join_and_leave() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let again = cluster.run(0, &["master", "init"]);
    assert!(
        again.fails(1).contains("in use by process"),
        "the daemon holds the directory"
    );
    let next = (leader + 1) % 3;
    let name = cluster.names()[next].clone();
    cluster.ask(&["master", "transfer", &name]).ok();
    wait_for("the new leader", LATE, || {
        let leads = cluster.leader();
        if leads == next { Ok(()) } else { Err(leads) }
    });
    cluster.signal(next, Signal::SIGTERM);
    assert!(cluster.wait_exit(next).success());
    wait_for("the handover", Duration::from_secs(2), || {
        let leads = cluster.leader();
        if leads == next {
            Err("the old one")
        } else {
            Ok(())
        }
    });
    let left = cluster.ask(&["master", "remove", &name]).ok();
    assert!(!left.contains(&name), "{left}");
    cluster.spawn(next);
    assert!(!cluster.wait_exit(next).success(), "a removed master ends");
    assert!(cluster.told(next).contains("was removed from its cluster"));
}

#[test]
fn a_master_is_moved_or_sent_away_once_for_a_key() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let [next, other] = [1, 2].map(|offset| (leader + offset) % 3);
    let names = cluster.names();
    let transfer = |to: usize, key: &str| {
        let path = format!("/v1/masters/{}/transfer", names[to]);
        let sent = cluster.send(other, "POST", &path, Some(key), "").unwrap();
        assert_eq!(sent.status, 200, "{sent:?}");
    };
    let wait_leader = |wanted: usize| {
        wait_for("the new leader", LATE, || {
            let leads = cluster.leader();
            if leads == wanted { Ok(()) } else { Err(leads) }
        });
    };
    transfer(next, "k1");
    wait_leader(next);
    transfer(other, "k2");
    wait_leader(other);
    // Late, and for the second time: it is answered and moves nothing.
    transfer(next, "k1");
    let leave = |key: Option<&str>| {
        let path = format!("/v1/masters/{}", names[leader]);
        cluster.send(next, "DELETE", &path, key, "").unwrap()
    };
    let (first, again) = (leave(Some("k3")), leave(Some("k3")));
    assert_eq!(
        (first.status, again.status),
        (200, 200),
        "{first:?}, {again:?}"
    );
    assert!(
        !again.body.contains(&format!("{:?}", names[leader])),
        "{again:?}"
    );
    assert_eq!(
        leave(Some("k4")).status,
        404,
        "another key is another write"
    );
    assert_eq!(cluster.leader(), other);
    let events = cluster.get(other, "/v1/events").unwrap().body;
    let told = format!("master {} was asked to leave", names[leader]);
    assert_eq!(events.matches(&told).count(), 1, "{events}");
}

#[test]
fn any_master_takes_writes_and_reads() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let followers: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    let put = cluster.send(followers[0], "PUT", "/v1/apps/web", None, &web("web"));
    assert_eq!(put.as_ref().unwrap().status, 200, "{put:?}");
    for path in [
        "/v1/apps",
        "/v1/apps/web",
        "/v1/apps/web/history",
        "/v1/nodes",
    ] {
        let read = cluster.get(followers[1], path).unwrap();
        assert_eq!(read.status, 200, "{path}: {read:?}");
    }
    let apps = cluster.get(followers[1], "/v1/apps").unwrap();
    assert!(apps.body.contains("\"web\""), "{apps:?}");
    // The same key is one write, wherever it arrives.
    let restart = |n: usize| {
        let sent = cluster.send(n, "POST", "/v1/apps/web/restart", Some("once"), "");
        sent.unwrap().body
    };
    assert_eq!(restart(followers[0]), restart(followers[1]));
    for master in followers {
        cluster.crash(master);
    }
    let refused = wait_for("the end of the leader's lease", LATE, || {
        let sent = cluster.send(leader, "POST", "/v1/apps/web/restart", None, "")?;
        if sent.status == 503 {
            Ok(sent)
        } else {
            Err(format!("{sent:?}"))
        }
    });
    assert_eq!(refused.header("retry-after"), Some("1"), "{refused:?}");
    assert!(
        refused.body.contains("no_leader") || refused.body.contains("outcome_unknown"),
        "{refused:?}"
    );
    let stale = cluster.get(leader, "/v1/apps?stale=true").unwrap();
    assert!(stale.body.contains("\"web\""), "{stale:?}");
}
