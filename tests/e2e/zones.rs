//! Zones from the command line: who carries what, upstreams kept by hand, and what is told of them.

use hancock_proto::api::{TopLine, UpstreamView};
use hancock_testkit::{http, wait_for};

use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::world::{SOON, World, address};

/// The app in a zone, so that a key decides.
fn web(zone: &str) -> Spec {
    let service =
        "service: [{port: http, hosts: [web.localhost], balance: header_maglev, zone: ZONE}]";
    Spec::web(Runtime::Process).more(&service.replace("ZONE", zone))
}

fn in_oslo() -> World {
    let mut world = World::at_rest(Runtime::Process);
    world.up(&["--label", "city=oslo"]);
    let said = world
        .run(&["zone", "create", "oslo", "--selector", "city=oslo"])
        .ok();
    assert_eq!(said, format!("zone oslo has {}\n", world.node));
    world
}

fn upstream(world: &World, zone: &str, name: &str) -> Result<UpstreamView, String> {
    let list: Vec<UpstreamView> = world.ask(&format!("/v1/zones/{zone}/upstreams"))?;
    let found = list.iter().find(|u| u.name == *name).cloned();
    found.ok_or(format!("{list:?}"))
}

#[test]
fn an_app_moves_between_zones_without_a_failed_request() {
    let world = in_oslo();
    world.apply(&web("oslo"));
    let refused = world.run(&["zone", "delete", "oslo"]).fails(4);
    assert!(
        refused.contains("zone oslo is used by app web"),
        "{refused}"
    );
    let load = world.load("web", 100);
    for zone in ["default", "oslo"] {
        world.apply(&web(zone).version(zone));
        wait_for("the service in its new zone", SOON, || {
            let there = upstream(&world, zone, "web.localhost")?;
            let other = if zone == "oslo" { "default" } else { "oslo" };
            match upstream(&world, other, "web.localhost") {
                Err(_) if there.confirmed == 1 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    load.stop().assert_none_failed();
}

#[test]
fn a_node_that_leaves_the_zone_lets_go_and_carries_again_when_it_is_back() {
    let mut world = in_oslo();
    world.apply(&web("oslo"));
    world.apply(&Spec::web(Runtime::Process).app("api"));
    for (label, carries) in [("city=bergen", false), ("city=oslo", true)] {
        assert!(world.interrupt().success());
        world.up(&["--label", label]);
        world.wait_serving("api", 3);
        world.wait_answer("api", "v1");
        wait_for(&format!("{label} carrying: {carries}"), SOON, || {
            let status = http::get(world.admin, "admin", "/status")?.body;
            let listed = status.contains("cls:web.localhost");
            let answers = world.get("web", "/")?.status == 200;
            match (listed, answers) == (carries, carries) {
                true => Ok(()),
                false => Err(status),
            }
        });
    }
}

#[test]
fn an_upstream_kept_by_hand_is_served_checked_and_told() {
    let world = in_oslo();
    world.apply(&Spec::web(Runtime::Process).replicas(2));
    let peers = world.wait_serving("web", 2);
    let peers = [
        address(&peers[0]).to_string(),
        address(&peers[1]).to_string(),
    ];
    let name = "kept.localhost";
    for peer in &peers {
        world.run(&["zone", "add", "oslo", name, peer]).ok();
    }
    world
        .run(&["zone", "add", "oslo", name, &peers[0], "--weight", "9"])
        .ok();
    let listed = world.run(&["zone", "upstreams", "oslo"]).ok();
    assert_eq!(listed.matches(":2").count(), 2, "{listed}");
    world.wait_answer("kept", "v1");

    let load = world.load("kept", 50);
    wait_for("requests in the picture", SOON, || {
        let top: Vec<TopLine> = world.ask("/v1/top?zone=oslo")?;
        let busy = |l: &&TopLine| l.name == *name && l.requests > 5.0 && l.balancers == 1;
        top.iter().find(busy).map(drop).ok_or(format!("{top:?}"))
    });
    let shown = world.run(&["zone", "top", "oslo"]).ok();
    assert!(
        shown.contains(name) && shown.contains("REQUESTS/S"),
        "{shown}"
    );
    load.stop().assert_none_failed();

    let picked = world.run(&["zone", "pick", "oslo", name]).ok();
    assert!(picked.starts_with("any of these"), "{picked}");
    world.run(&["app", "scale", "web", "1", "--wait"]).ok();
    wait_for("a peer that fails its checks", SOON, || {
        let peers = upstream(&world, "oslo", name)?.peers;
        let failing = peers.iter().filter(|p| p.health == "failing").count();
        (failing == 1).then_some(()).ok_or(format!("{peers:?}"))
    });
    let picked = world.run(&["zone", "pick", "oslo", name]).ok();
    assert!(picked.contains("not picked: "), "{picked}");

    let write = format!(
        "PUT /upstream/{name} HTTP/1.1\r\nHost: admin\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{{\"servers\": [{{\"host\": \"127.0.0.1\", \"port\": 8001}}]}}"
    );
    let write = http::request(world.admin, &write).unwrap();
    assert_eq!(write.status, 409, "{}", write.body);
    world.run(&["zone", "delete-upstream", "oslo", name]).ok();
    wait_for("nobody serving it", SOON, || {
        match world.get("kept", "/")?.status {
            200 => Err("still served".to_owned()),
            _ => Ok(()),
        }
    });
    world.run(&["zone", "delete", "oslo"]).ok();
}

#[test]
fn a_key_gets_the_peer_that_was_told() {
    let world = in_oslo();
    world.apply(&web("oslo"));
    for key in ["alice", "bob", "carol", "dave"] {
        let told = world
            .run(&["zone", "pick", "oslo", "web.localhost", "--key", key])
            .ok();
        let told = told.lines().next().unwrap().to_owned();
        let peers = world.wait_serving("web", 3);
        let told = peers
            .iter()
            .find(|i| address(i).to_string() == told)
            .unwrap();
        let ask = format!(
            "GET / HTTP/1.1\r\nHost: web.localhost\r\nX-Hash-Key: {key}\r\nConnection: close\r\n\r\n"
        );
        let answer = http::request(world.http, &ask).unwrap();
        assert!(
            answer.body.contains(told.id.as_str()),
            "{key}: {} by {}",
            answer.body,
            told.id
        );
    }
    let blind = world
        .run(&["zone", "pick", "oslo", "web.localhost"])
        .fails(1);
    assert!(blind.contains("--key"), "{blind}");
}
