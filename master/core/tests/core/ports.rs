//! Which host ports instances get of a node that has ranges and single ports.

use std::collections::BTreeSet;
use std::time::Duration;

use hancock_master_core::view::{self, Context};
use hancock_proto::app::{AppSpec, PortSpan};
use hancock_proto::ports::{PortRange, PortSet};

use crate::script::spec;
use crate::world::World;

fn set(text: &str) -> PortSet {
    let pieces = text.split(',').map(|piece| piece.parse::<PortRange>());
    pieces.map(Result::unwrap).collect()
}

/// A world of one node with these ports for instances.
fn world(ports: &str) -> World {
    let mut world = World::new();
    world.join("n1");
    world.node("n1").info.ports = set(ports);
    world.hello(&"n1".parse().unwrap());
    world
}

fn apply(world: &mut World, spec: AppSpec) {
    world.apply_spec(spec);
    world.run(Duration::from_secs(8));
}

/// The host ports of an app's instances.
fn of(world: &World, app: &str) -> BTreeSet<u16> {
    let all = world.state.instances.values();
    let its = all.filter(|i| i.app.as_str() == app);
    its.flat_map(|i| i.ports.iter().flat_map(|p| p.hosts()))
        .collect()
}

/// Why no more instances of `spec` find a place.
fn misfit(world: &World, spec: &AppSpec) -> Vec<String> {
    let ctx = Context {
        state: &world.state,
        leader: &world.view,
        now: world.now,
    };
    view::preview(ctx, spec).unwrap().unplaceable
}

#[test]
fn ports_are_those_free_for_longest() {
    for (ports, order) in [
        ("20000-20002", &[20_000, 20_001, 20_002][..]),
        // Begun somewhere among so many: the range is used up, single ports follow, then it goes around.
        (
            "30002,30000,20000-20003,8080",
            &[20_002, 20_003, 30_000, 30_002, 8080, 20_000, 20_001],
        ),
        ("8080,8443,9000", &[8080, 8443, 9000]),
        ("8080", &[8080]),
    ] {
        let mut world = world(ports);
        let mut seen = Vec::new();
        // A version that replaces another has a port beside it, so with a single port it goes first.
        let strategy = if order.len() == 1 {
            "recreate"
        } else {
            "blue_green"
        };
        let strategy = format!("strategy={strategy}");
        for version in 0..2 * order.len() {
            let cmd = format!("cmd=v{version}");
            apply(&mut world, spec("web", &["replicas=1", &strategy, &cmd]));
            seen.extend(of(&world, "web"));
        }
        assert_eq!(seen, [order, order].concat(), "{ports}");
    }
}

#[test]
fn single_ports_are_used_up_and_given_back() {
    let mut world = world("20000-20001,8443,8080");
    let all = BTreeSet::from([8080, 8443, 20_000, 20_001]);
    apply(&mut world, spec("web", &["replicas=4"]));
    assert_eq!(of(&world, "web"), all);
    let told = misfit(&world, &spec("other", &[]));
    assert_eq!(told, ["n1: no port of 8080,8443,20000-20001 is free"]);
    apply(&mut world, spec("web", &["replicas=1"]));
    let left = of(&world, "web");
    apply(&mut world, spec("other", &["replicas=3"]));
    assert_eq!(of(&world, "other"), &all - &left);
}

#[test]
fn a_range_is_of_ports_in_a_row() {
    let mut wide = spec("wide", &[]);
    wide.ports[0].container = Some(PortSpan::range(7000, 7002).unwrap());
    let mut narrow = world("8080,8082,9000-9001");
    assert_eq!(
        misfit(&narrow, &wide),
        ["n1: no 3 ports in a row of 8080,8082,9000-9001 are free"]
    );
    narrow.node("n1").info.ports = set("8080,8082,9000-9001,8081");
    narrow.hello(&"n1".parse().unwrap());
    apply(&mut narrow, wide);
    assert_eq!(of(&narrow, "wide"), BTreeSet::from([8080, 8081, 8082]));
}

/// A fixed port need not be among them; one that is, is nobody else's while it is taken.
#[test]
fn a_fixed_port_is_the_instances_wherever_it_is() {
    let mut world = world("8080,20000-20001");
    apply(&mut world, spec("inside", &["port=8080"]));
    apply(&mut world, spec("outside", &["port=9999"]));
    apply(&mut world, spec("web", &["replicas=2"]));
    assert_eq!(of(&world, "inside"), BTreeSet::from([8080]));
    assert_eq!(of(&world, "outside"), BTreeSet::from([9999]));
    assert_eq!(of(&world, "web"), BTreeSet::from([20_000, 20_001]));
}

/// A node that comes back with other ports keeps the instances it has.
#[test]
fn ports_that_are_the_nodes_no_more_are_only_not_given_out_again() {
    let mut world = world("8080,8443");
    apply(&mut world, spec("web", &["replicas=2"]));
    world.node("n1").info.ports = set("8443-8445");
    world.hello(&"n1".parse().unwrap());
    world.run(Duration::from_secs(8));
    assert_eq!(of(&world, "web"), BTreeSet::from([8080, 8443]));
    apply(&mut world, spec("web", &["replicas=2", "cmd=v2"]));
    assert_eq!(of(&world, "web"), BTreeSet::from([8444, 8445]));
}
