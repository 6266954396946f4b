//! An earlier state comes back among nodes that have heard more than it knows.

use std::time::Duration;

use hancock_master_core::{LEAP, State};
use hancock_proto::ids::InstanceId;

use crate::script::spec;
use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// A cluster that serves version 1, and its state of then.
fn begun() -> (World, State) {
    let mut world = World::new();
    world.join("n1");
    world.join("n2");
    world.apply_spec(spec("web", &["replicas=2"]));
    world.run(Duration::from_secs(20));
    let state = world.state.clone();
    (world, state)
}

fn selectable(world: &World) -> Vec<InstanceId> {
    let nodes = world.nodes.values();
    let mut all: Vec<_> = nodes.flat_map(|n| n.balancer.selectable()).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn nodes_follow_it_to_what_it_says() {
    let (mut world, then) = begun();
    let before = selectable(&world);
    world.apply_spec(spec("web", &["replicas=2", "cmd=v2"]));
    world.apply_spec(spec("late", &["replicas=1"]));
    world.run(MINUTE);
    let since = selectable(&world);
    assert!(before.iter().all(|id| !since.contains(id)), "{since:?}");
    world.bring_back(then);
    world.run(MINUTE);
    assert_eq!(selectable(&world), before, "as it was then");
    let running = world.nodes.values().flat_map(|n| n.instances.keys());
    assert!(running.clone().all(|id| before.contains(id)), "and no more");
    // Numbers given out since then are not given out again.
    world.apply_spec(spec("web", &["replicas=2", "cmd=v3"]));
    world.run(MINUTE);
    let next = selectable(&world);
    assert!(next.iter().all(|id| !since.contains(id)), "{next:?}");
    assert_eq!(next.len(), 2);
}

#[test]
fn it_goes_on_from_the_middle_of_a_deployment() {
    for stop in 1..30 {
        let (mut world, _) = begun();
        world.apply_spec(spec("web", &["replicas=2", "cmd=v2"]));
        for _ in 0..stop {
            world.round();
        }
        let then = world.state.clone();
        world.run(MINUTE);
        world.bring_back(then);
        world.run(MINUTE * 8);
        let open = world.state.deployments.values();
        let open: Vec<_> = open.filter(|d| !d.phase.is_over()).collect();
        assert!(open.is_empty(), "after {stop} rounds: {open:#?}");
        assert_eq!(selectable(&world).len(), 2, "after {stop} rounds");
    }
}

#[test]
fn every_number_rises_and_no_relation_changes() {
    let (world, then) = begun();
    let mut state = then.clone();
    state.leap();
    assert_eq!(state.term.0, then.term.0 + LEAP);
    assert_eq!(state.applied.0, then.applied.0 + LEAP);
    assert_eq!(state.last_instance, then.last_instance + LEAP);
    assert!(state.registry.revision().0 > world.state.registry.revision().0 + LEAP - 1);
    for (id, node) in &state.nodes {
        assert_eq!(node.generation.0, then.nodes[id].generation.0 + LEAP);
    }
    let app = &state.apps[&"web".parse().unwrap()];
    assert!(!app.routes.is_published(), "written again");
    assert!(hancock_master_core::invariants::check(&state).is_empty());
}
