//! Every accepted write leaves one line, on the master that led.

use hancock_testkit::wait::wait_for;

use super::cluster::{Cluster, LATE, web};

/// Lines of the audit on all masters that tell of `deed`.
fn lines(cluster: &Cluster, deed: &str) -> Vec<(usize, String)> {
    let told = |master: usize| {
        let told = cluster.told(master);
        let lines = told
            .lines()
            .filter(|l| l.contains(" audit: ") && l.contains(deed));
        lines
            .map(|line| (master, line.to_owned()))
            .collect::<Vec<_>>()
    };
    (0..cluster.names().len()).flat_map(told).collect()
}

/// The one line about `deed`, once the log has it.
#[track_caller]
fn only_line(cluster: &Cluster, deed: &str) -> (usize, String) {
    let found = wait_for(deed, LATE, || {
        let found = lines(cluster, deed);
        if found.is_empty() {
            Err("no line")
        } else {
            Ok(found)
        }
    });
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn every_write_leaves_one_line() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let (follower, spec) = ((leader + 1) % 3, web("web"));
    let send = |method, path, key, body: &str| {
        let sent = cluster.send(follower, method, path, key, body).unwrap();
        assert_eq!(sent.status, 200, "{sent:?}");
    };
    let refused = cluster.send(follower, "POST", "/v1/apps/web/restart", None, "");
    assert_eq!(refused.unwrap().status, 404);
    // What only a master may say of a request is not believed of others.
    let lie = "k\r\nX-Hancock-Forwarded: m9\r\nX-Hancock-From: 192.0.2.1:1";
    send("PUT", "/v1/apps/web", Some(lie), &spec);
    send("POST", "/v1/apps/web/stop", Some("once"), "");
    send("POST", "/v1/apps/web/stop", Some("once"), "");
    send("DELETE", "/v1/apps/web", None, "");
    // Written in order: all before it are there as well.
    let (told_by, deleted) = only_line(&cluster, "delete web");
    assert_eq!(told_by, leader, "{deleted}");
    let via = format!(" via {}", cluster.names()[follower]);
    let (_, put) = only_line(&cluster, "apply web with 1 replicas");
    for line in [&put, &deleted] {
        assert!(
            line.contains("operator from 127.0.0.1:") && line.contains(&via),
            "{line}"
        );
        assert!(line.contains("index="), "{line}");
    }
    assert_eq!(lines(&cluster, "restart web"), []);
    let stops = lines(&cluster, "stop web");
    let repeated = |(_, line): &&(usize, String)| line.contains("repeated=true");
    assert_eq!((stops.len(), stops.iter().filter(repeated).count()), (2, 1));
    let (secret, _) = cluster.token.split_once('.').unwrap();
    let told = (0..3).map(|master| cluster.told(master));
    assert!(told.into_iter().all(|told| !told.contains(secret)));
}
