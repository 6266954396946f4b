//! What stays of ended instances, and for how long.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use hancock_proto::assignment::Desired::{Running, Stopped};

use super::world::{World, id};
use crate::retention::Retention;

/// Instances that ended one after the other, a minute apart, and are not assigned any more.
fn buried(most: usize, hours: u64) -> World {
    let mut world = World::new();
    let time = Duration::from_secs(3600 * hours);
    world.node = world.node.with_retention(Retention { most, time });
    let all = (1..=4).map(|n| (id(n), Running));
    world.assign(all.collect());
    world.settle();
    for n in 1..=4 {
        let wanted = (1..=4).map(|i| (id(i), if i <= n { Stopped } else { Running }));
        world.assign(wanted.collect());
        world.settle();
    }
    world.assign([(id(9), Running)].into());
    world.settle();
    world
}

fn left(world: &World) -> Vec<u64> {
    let there = |n: &u64| world.engine.contains_key(&id(*n));
    (1..=9).filter(there).collect()
}

#[test]
fn the_newest_dead_of_an_app_stay_for_a_while() {
    for (most, hours, expected) in [
        (0, 24, vec![9]),
        (2, 24, vec![3, 4, 9]),
        (9, 24, vec![1, 2, 3, 4, 9]),
        (9, 0, vec![9]),
    ] {
        let world = buried(most, hours);
        assert_eq!(left(&world), expected, "{most} for {hours} h");
        // Nobody is told of them any more.
        let reported: Vec<_> = world.plan.reports.keys().cloned().collect();
        assert_eq!(reported, [id(9)]);
    }
    let mut world = buried(2, 24);
    let wake = world.plan.wake_at.unwrap();
    assert!(wake > world.now && wake < world.now + Duration::from_secs(24 * 3600));
    world.now = wake;
    world.settle();
    assert_eq!(left(&world), [4, 9]);
    world.now = world.plan.wake_at.unwrap();
    world.settle();
    assert_eq!(left(&world), [9]);
}

#[test]
fn a_full_disk_and_a_daemon_that_restarts_make_a_difference_and_none() {
    let mut world = buried(2, 24);
    world.restart(false);
    let retention = Retention {
        most: 2,
        time: Duration::from_secs(24 * 3600),
    };
    world.node = world.node.with_retention(retention);
    world.settle();
    assert_eq!(left(&world), [3, 4, 9]);
    world.node.disk(Some("disk full".to_owned()));
    world.settle();
    assert_eq!(left(&world), [9]);
}
