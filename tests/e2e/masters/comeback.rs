//! The masters, or most of them, are lost for ever; the cluster comes back.

use hancock_testkit::wait::wait_for;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::cluster::{Cluster, LATE, web};

/// Deployments of `app` so far; none: there is no such app.
fn deployment(cluster: &Cluster, master: usize, app: &str) -> Option<u64> {
    let read = wait_for("a read", LATE, || {
        let answer = cluster.get(master, &format!("/v1/apps/{app}/deployment"))?;
        match answer.status {
            200 | 404 => Ok(answer),
            _ => Err(format!("{answer:?}")),
        }
    });
    let view: Value = serde_json::from_str(&read.body).unwrap();
    view["id"].as_u64()
}

fn apply(cluster: &Cluster, master: usize, app: &str) {
    let put = cluster.send(master, "PUT", &format!("/v1/apps/{app}"), None, &web(app));
    assert_eq!(put.as_ref().unwrap().status, 200, "{put:?}");
}

/// Another master of the same cluster.
fn join(cluster: &mut Cluster, contact: usize, name: &str) -> usize {
    let next = cluster.prepare(name);
    let contact = cluster.peers(contact).to_string();
    cluster.run(next, &["master", "join", &contact]).ok();
    cluster.spawn(next);
    next
}

#[test]
fn all_masters_are_lost_and_a_snapshot_is_left() {
    let mut cluster = Cluster::start(3);
    apply(&cluster, 1, "web");
    let saved = cluster.path("backup");
    let saved = saved.to_str().unwrap();
    let told = cluster.ask(&["snapshot", "save", saved, "--output", "json"]);
    let told: Value = serde_json::from_str(&told.ok()).unwrap();
    assert_eq!(told["counts"]["apps"], 1, "{told}");
    apply(&cluster, 0, "late");
    let inspected = cluster.ask(&["snapshot", "inspect", saved]).ok();
    assert!(inspected.contains("1 apps"), "{inspected}");
    refuse_damage(&cluster, saved);
    for master in 0..3 {
        cluster.crash(master);
    }
    cluster.wipe(0);
    let restored = cluster.run(0, &["snapshot", "restore", saved]).ok();
    assert!(restored.contains("as they were"), "{restored}");
    let again = cluster.run(0, &["snapshot", "restore", saved]).fails(1);
    assert!(again.contains("belongs to a cluster already"), "{again}");
    cluster.spawn(0);
    assert_eq!(deployment(&cluster, 0, "web"), Some(1));
    assert_eq!(deployment(&cluster, 0, "late"), None, "it came later");
    // Who was thought lost comes back: it is none of the masters any more, and says so.
    cluster.spawn(1);
    assert!(!cluster.wait_exit(1).success());
    assert!(cluster.told(1).contains("was removed from its cluster"));
    for name in ["m4", "m5"] {
        join(&mut cluster, 0, name);
    }
    cluster.wait_voters(3);
    apply(&cluster, 4, "late");
    let number = deployment(&cluster, 3, "late").unwrap();
    assert!(number > 1_000_000_000, "{number} was given out before");
}

/// One changed byte, and a missing end, are refused by their offsets.
fn refuse_damage(cluster: &Cluster, saved: &str) {
    let bytes = std::fs::read(saved).unwrap();
    let bad = cluster.path("bad");
    let mut changed = bytes.clone();
    let middle = bytes.len() / 2;
    changed[middle] ^= 1;
    for damaged in [&changed[..], &bytes[..middle]] {
        std::fs::write(&bad, damaged).unwrap();
        for deed in ["inspect", "restore"] {
            let args = ["snapshot", deed, bad.to_str().unwrap()];
            let refused = match deed {
                "inspect" => cluster.ask(&args),
                _ => cluster.run(0, &args),
            };
            let refused = refused.fails(1);
            assert!(refused.contains("is damaged at byte"), "{refused}");
        }
    }
}

#[test]
fn two_of_three_are_lost_and_the_third_goes_on() {
    let mut cluster = Cluster::start(3);
    apply(&cluster, 0, "web");
    cluster.wait_applied();
    let names = cluster.names();
    let all_lost = ["master", "recover", "--i-lost", &names[0], &names[1]];
    cluster.crash(0);
    cluster.signal(2, Signal::SIGTERM);
    cluster.wait_exit(2);
    let lives = cluster.run(2, &all_lost).fails(1);
    assert!(lives.contains("is not lost"), "{lives}");
    cluster.crash(1);
    let looked = cluster.run(2, &["master", "recover"]).ok();
    assert!(looked.contains("Nothing was changed"), "{looked}");
    let half = cluster.run(2, &["master", "recover", "--i-lost", &names[0]]);
    assert!(half.fails(1).contains("was not named"));
    for master in [0, 1] {
        cluster.wipe(master);
    }
    let recovered = cluster.run(2, &all_lost).ok();
    assert!(recovered.contains("before-recovery-1"), "{recovered}");
    cluster.spawn(2);
    assert_eq!(deployment(&cluster, 2, "web"), Some(1));
    apply(&cluster, 2, "late");
    for name in ["m4", "m5"] {
        join(&mut cluster, 2, name);
    }
    cluster.wait_voters(3);
    assert!(deployment(&cluster, 4, "late") > Some(1_000_000_000));
}
