//! Scenarios of an image's name that stood for something else where its version began.

#![allow(clippy::unwrap_used)]

use hancock_proto::assignment::Desired::Running;
use hancock_proto::report::{InstanceReport, Life};

use super::Action;
use super::world::{End, World, assigned, assignment, id};
use crate::instance::Deed;

/// A world with one instance, and what the name stands for there.
fn world(image: Option<&str>) -> World {
    let mut world = World::assigned([(1, Running)]);
    world.image = image.map(str::to_owned);
    world
}

/// The masters tell what its version is.
fn tell(world: &mut World, digest: &str) {
    let mut one = assigned(20_000, Running);
    one.run.image_digest = Some(digest.to_owned());
    world.node.assign(assignment([(id(1), one)].into()));
}

fn report(world: &World) -> &InstanceReport {
    &world.plan.reports[&id(1)]
}

/// The next deed, which is of that kind, with the digest it is given; it is done.
fn next(world: &mut World, deed: Deed) -> Option<String> {
    world.plan();
    let action = world.under_way.first().unwrap().clone();
    assert_eq!(action.deed(), deed);
    world.finish(0, End::Done);
    match action {
        Action::Prepare(spec) | Action::Start(spec) => spec.image_digest.clone(),
        _ => None,
    }
}

#[test]
fn one_of_another_image_is_made_anew_and_not_blamed() {
    let mut world = world(Some("mine"));
    world.settle();
    assert_eq!(report(&world).image_digest.as_deref(), Some("mine"));
    tell(&mut world, "theirs");
    next(&mut world, Deed::Stop);
    let theirs = Some("theirs".to_owned());
    assert_eq!(next(&mut world, Deed::Prepare), theirs);
    assert_eq!(next(&mut world, Deed::Start), theirs);
    world.settle();
    let told = report(&world);
    assert_eq!((told.life, told.restarts), (Life::Running, 0));
    assert_eq!(told.image_digest, theirs);
    assert_eq!(told.reason, None);
    // Once, and a daemon that starts again sees that it is right.
    world.restart(false);
    world.list();
    assert!(world.plan().is_empty());
}

#[test]
fn one_of_the_right_image_or_of_none_that_is_known_goes_on() {
    for image in [Some("same"), None] {
        let mut world = world(image);
        world.settle();
        tell(&mut world, "same");
        assert!(world.plan().is_empty(), "{image:?}");
        assert_eq!(report(&world).life, Life::Running);
    }
}

/// What was fetched meanwhile is the wrong one: the right one is fetched before the start.
#[test]
fn an_image_told_during_the_preparation_is_prepared_too() {
    let mut world = world(Some("mine"));
    tell(&mut world, "theirs");
    assert_eq!(next(&mut world, Deed::Prepare), None);
    let theirs = Some("theirs".to_owned());
    assert_eq!(next(&mut world, Deed::Prepare), theirs);
    assert_eq!(next(&mut world, Deed::Start), theirs);
    world.plan();
    assert_eq!(report(&world).image_digest, theirs);
}

/// A daemon that dies between the stop and the start goes on with it.
#[test]
fn a_daemon_that_starts_again_goes_on_making_it_anew() {
    for done in [false, true] {
        let mut world = world(Some("mine"));
        world.settle();
        tell(&mut world, "theirs");
        world.plan();
        world.restart(done);
        world.settle();
        let told = report(&world);
        assert_eq!((told.life, told.restarts), (Life::Running, 0), "{done}");
        assert_eq!(told.image_digest.as_deref(), Some("theirs"));
    }
}
