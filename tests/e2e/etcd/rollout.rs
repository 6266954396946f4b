//! The whole system with an etcd: what an app's owner asks for goes by the store, and the store may go away.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hancock_testkit::certs::Authority;
use hancock_testkit::etcd::Etcd;
use hancock_testkit::{http, wait, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::can_run;
use super::edge::Edge;
use crate::agents::node::Node;
use crate::masters::cluster::Cluster;
use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::world::{LATE, SOON, World};

const KEY: &str = "edge/upstreams/web.localhost";

/// A system with its documents in an etcd, and an app that serves.
fn serving() -> (Etcd, World) {
    let etcd = Etcd::start();
    let mut world = World::at_rest(Runtime::Process);
    world.up(&["--registry", &etcd.url("edge")]);
    wait_in_force(&world, &etcd.url("edge"));
    world.apply(&Spec::web(Runtime::Process));
    world.wait_answer("web", "v1");
    (etcd, world)
}

fn wait_in_force(world: &World, url: &str) {
    wait_for("the registry in force", SOON, || {
        let view: Value = world.ask("/v1/registry")?;
        match view["phase"] == "settled" && view["url"] == url {
            true => Ok(()),
            false => Err(view.to_string()),
        }
    });
}

fn stored(etcd: &Etcd) -> Value {
    let text = etcd.get(KEY).expect("a stored document");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn versions_roll_out_through_an_etcd_without_a_failed_request() {
    if !can_run() {
        return;
    }
    let (etcd, world) = serving();
    let first = stored(&etcd);
    assert_eq!(first["hancock"]["app"], "web");
    // Another balancer elsewhere is led by the same documents, and confirms them like the nodes'.
    let edge = Edge::start(&etcd.url("edge"));
    edge.wait_answer("web.localhost", "v1");
    wait_known(&world);
    let elsewhere = edge.load("web.localhost");
    let load = world.load("web", 100);
    for version in ["v2", "v3"] {
        world.apply(&Spec::web(Runtime::Process).version(version));
        load.wait_until("answers of the new version", SOON, |t| {
            t.answered(version) > 50
        });
        world.wait_serving("web", 3);
        edge.wait_answer("web.localhost", version);
    }
    let tally = load.stop();
    println!("{tally}");
    tally.assert_none_failed();
    let tally = elsewhere.stop();
    println!("elsewhere {tally}");
    tally.assert_none_failed();
    assert!(stored(&etcd)["hancock"]["index"].as_u64() > first["hancock"]["index"].as_u64());
    world.run(&["app", "delete", "web", "--yes", "--wait"]).ok();
    assert_eq!(etcd.get(KEY), None);
}

/// Waits until the masters know of one reader that is no node's.
fn wait_known(world: &World) {
    wait_for("the reader to be known", SOON, || {
        let view: Value = world.ask("/v1/registry")?;
        match view["readers"] == 1 {
            true => Ok(()),
            false => Err(view.to_string()),
        }
    });
}

#[test]
fn what_a_balancer_elsewhere_still_uses_is_not_stopped() {
    if !can_run() {
        return;
    }
    let (etcd, world) = serving();
    let edge = Edge::start(&etcd.url("edge"));
    edge.wait_answer("web.localhost", "v1");
    wait_known(&world);
    let before = world.processes("web", 3);
    let alive = || match before.iter().all(|(_, process)| process.is_alive()) {
        true => Ok(()),
        false => Err("an old instance was stopped"),
    };
    edge.signal(Signal::SIGSTOP);
    let spec = Spec::web(Runtime::Process).version("v2");
    let file = world.write("v2.yaml", &spec.text());
    world.run(&["app", "apply", &file]).ok();
    wait_for("the deployment to wait for it", SOON, || {
        let view: Value = world.ask("/v1/apps/web/deployment")?;
        let reason = view["reason"].as_str().unwrap_or_default().to_owned();
        match reason.contains("reader") && reason.contains("has not confirmed yet") {
            true => Ok(()),
            false => Err(reason),
        }
    });
    wait::stays("the old set", Duration::from_secs(3), alive);
    edge.signal(Signal::SIGCONT);
    edge.wait_answer("web.localhost", "v2");
    wait_for("the end of the old set", LATE, || match alive() {
        Ok(()) => Err("still running"),
        Err(_) => Ok(()),
    });
    world.wait_serving("web", 3);
}

/// A command that goes on beside the test.
fn begin(world: &World, args: &[&str]) -> Child {
    let mut command = world.client(args);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_deployment_waits_for_an_etcd_that_is_away_and_nothing_stops() {
    if !can_run() {
        return;
    }
    let (mut etcd, world) = serving();
    let before = world.processes("web", 3);
    let load = world.load("web", 100);
    etcd.crash_all();
    let spec = Spec::web(Runtime::Process).version("v2");
    let file = world.write("v2.yaml", &spec.text());
    let mut applying = begin(&world, &["app", "apply", &file, "--wait"]);
    wait_for("the second set", LATE, || {
        let there = world.instances("web")?;
        if there.len() == 6 {
            Ok(())
        } else {
            Err(format!("{}", there.len()))
        }
    });
    wait::stays("the old set", Duration::from_secs(3), || {
        match before.iter().all(|(_, process)| process.is_alive()) {
            true => Ok(()),
            false => Err("an old instance was stopped"),
        }
    });
    etcd.restart_all();
    world.wait_answer("web", "v2");
    let ended = wait_for("the end of the deployment", LATE, || {
        applying.try_wait().unwrap().ok_or("still running")
    });
    assert!(ended.success());
    load.stop().assert_none_failed();
    assert_eq!(stored(&etcd)["hancock"]["app"], "web");
}

#[test]
fn a_wiped_etcd_is_filled_again() {
    if !can_run() {
        return;
    }
    let (mut etcd, world) = serving();
    let load = world.load("web", 50);
    etcd.wipe();
    world.run(&["app", "scale", "web", "2", "--wait"]).ok();
    assert_eq!(stored(&etcd)["hancock"]["app"], "web");
    assert!(etcd.get("edge/hancock/fence").is_some());
    // What somebody else wrote over it is put right.
    let ours = stored(&etcd);
    etcd.put(KEY, r#"{"servers":[{"host":"127.0.0.1","port":9}]}"#);
    wait_for("the owner's document", SOON, || {
        let now = stored(&etcd);
        if now["cluster"] == ours["cluster"] {
            Ok(())
        } else {
            Err(now.to_string())
        }
    });
    load.stop().assert_none_failed();
    world.wait_answer("web", "v1");
}

/// A machine shared with others may be late; it is not late this often in a row.
const STARTS: usize = 3;

#[test]
fn a_node_that_was_killed_serves_within_a_second_with_its_etcd_away() {
    if !can_run() {
        return;
    }
    let (mut etcd, mut world) = serving();
    etcd.crash_all();
    let registry = ["--registry", &etcd.url("edge")];
    let mut starts = std::iter::repeat_with(|| {
        world.crash();
        let begun = Instant::now();
        world.spawn(&registry);
        world.wait_answer("web", "v1");
        begun.elapsed()
    });
    let served: Vec<_> = starts
        .by_ref()
        .take(STARTS)
        .inspect(|took| println!("served after {took:?}"))
        .take_while(|took| *took > Duration::from_secs(1))
        .collect();
    assert!(served.len() < STARTS, "served after {served:?}");
}

#[test]
fn a_killed_agent_serves_within_a_second_with_etcd_and_masters_away() {
    if !can_run() {
        return;
    }
    let mut etcd = Etcd::start();
    let mut cluster = Cluster::start(1);
    let mut node = Node::new("n1", &cluster.join, cluster.agents(0));
    node.spawn();
    let url = etcd.url("edge");
    cluster.ask(&["registry", "set", &url]).ok();
    let file = node.write("web.yaml", &Spec::web(Runtime::Process).text());
    wait_for("the node", SOON, || {
        match cluster.ask(&["node", "list"]).out.contains("alive") {
            true => Ok(()),
            false => Err("not there yet"),
        }
    });
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    wait_shown(&cluster, &url);
    assert_eq!(stored(&etcd)["hancock"]["app"], "web");
    etcd.crash_all();
    cluster.crash(0);
    let mut starts = std::iter::repeat_with(|| {
        node.crash();
        let begun = Instant::now();
        node.spawn();
        wait_for("an answer", SOON, || {
            match http::get(node.http, "web.localhost", "/")?.first_word() {
                "v1" => Ok(()),
                other => Err(other.to_owned()),
            }
        });
        begun.elapsed()
    });
    let served: Vec<_> = starts
        .by_ref()
        .take(STARTS)
        .inspect(|took| println!("served after {took:?}"))
        .take_while(|took| *took > Duration::from_secs(1))
        .collect();
    assert!(served.len() < STARTS, "served after {served:?}");
}

/// Waits until the registry at `url` is in force.
#[track_caller]
fn wait_shown(cluster: &Cluster, url: &str) {
    wait_for("the registry in force", SOON, || {
        let shown = cluster.ask(&["registry", "show"]).ok();
        match shown.contains("settled") && shown.contains(url) {
            true => Ok(()),
            false => Err(shown),
        }
    });
}

#[test]
fn the_registry_is_switched_while_clients_ask() {
    if !can_run() {
        return;
    }
    let etcd = Etcd::start();
    let mut world = World::at_rest(Runtime::Process);
    world.up(&[]);
    world.apply(&Spec::web(Runtime::Process));
    world.wait_answer("web", "v1");
    let load = world.load("web", 50);
    for url in [etcd.url("edge"), "embedded".to_owned(), etcd.url("edge")] {
        world.run(&["registry", "set", &url]).ok();
        wait_in_force(&world, &url);
    }
    assert_eq!(stored(&etcd)["hancock"]["app"], "web");
    world.apply(&Spec::web(Runtime::Process).version("v2"));
    world.wait_answer("web", "v2");
    load.stop().assert_none_failed();
}

/// Certificates and password are each process's own; what is replicated is the address alone.
#[test]
fn masters_write_to_an_etcd_that_asks_who_they_are() {
    if !can_run() {
        return;
    }
    let authority = Authority::default();
    let (etcd, address) = Etcd::secured(&authority);
    etcd.lock("writer", "secret", "edge/");
    let mut cluster = Cluster::start(1);
    let own = authority.certify(&["m1"]);
    let files = [
        ("ca", authority.pem()),
        ("cert", own.cert),
        ("key", own.key),
        ("password", "secret\n".to_owned()),
    ];
    let mut text = format!("registry = \"etcd://writer@{address}/edge\"\n");
    for (name, content) in files {
        let path = cluster.path(name);
        std::fs::write(&path, content).unwrap();
        let key = match name {
            "password" => "password-file",
            other => other,
        };
        text += &format!("registry-{key} = {path:?}\n");
    }
    let config = cluster.path("m1.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, before + &text).unwrap();
    cluster.signal(0, Signal::SIGTERM);
    assert!(cluster.wait_exit(0).success());
    cluster.spawn(0);
    let url = format!("etcd://{address}/edge");
    wait_for("the choice", SOON, || {
        match cluster.ask(&["registry", "set", &url]).code {
            Some(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    wait_shown(&cluster, &url);
    cluster
        .ask(&["zone", "add", "default", "web.test", "10.0.0.1:80"])
        .ok();
    wait_for("the document", SOON, || {
        let found = etcd.get_as("writer", "secret", "edge/upstreams/web.test")?;
        let found = found.filter(|doc| doc.contains("10.0.0.1"));
        found.ok_or("none".to_owned())
    });
    let shown = cluster.ask(&["registry", "show", "--output", "json"]).ok();
    assert!(!shown.contains("secret"), "{shown}");
}
