//! Where jobs of a task run: in what is live, runs and is heard, and nowhere else.

use std::time::Duration;

use hancock_master_core::command::Command;
use hancock_master_core::view::{self, Context, JobPlaces};
use hancock_proto::api::{ApiError, PlanAction};
use hancock_proto::units::Span;

use crate::script::spec;
use crate::world::World;

const WORDS: &[&str] = &["job=60s", "replicas=2"];

fn world(words: &[&str]) -> World {
    let mut world = World::new();
    world.join("n1");
    world.join("n2");
    world.apply_spec(spec("work", words));
    world.run(Duration::from_secs(10));
    world
}

fn places(world: &World, app: &str) -> Result<JobPlaces, ApiError> {
    view::job_places(ctx(world), &app.parse().unwrap())
}

fn ctx(world: &World) -> Context<'_> {
    Context {
        state: &world.state,
        leader: &world.view,
        now: world.now,
    }
}

/// Ids of the instances that take jobs.
fn at(world: &World) -> Vec<String> {
    let places = places(world, "work").unwrap();
    places
        .at
        .into_iter()
        .map(|(_, id)| id.to_string())
        .collect()
}

#[test]
fn jobs_run_in_live_instances_on_nodes_that_are_heard() {
    let mut world = world(WORDS);
    let places = places(&world, "work").unwrap();
    assert_eq!(places.timeout, Span::seconds(60));
    let nodes: Vec<_> = places.at.iter().map(|(node, _)| node.as_str()).collect();
    assert_eq!(nodes, ["n1", "n2"]);
    world.node("n2").linked = false;
    world.run(Duration::from_secs(12));
    assert_eq!(at(&world).len(), 1, "silence for longer than a lease");
    world.node("n2").linked = true;
    world.run(Duration::from_secs(5));
    assert_eq!(at(&world).len(), 2);
}

#[test]
fn while_a_version_is_on_its_way_in_jobs_run_in_the_one_before() {
    let mut world = world(WORDS);
    let before = at(&world);
    world.apply_spec(spec(
        "work",
        &["job=60s", "replicas=2", "never=1", "cmd=v2"],
    ));
    world.run(Duration::from_secs(5));
    assert_eq!(at(&world), before);
    world.apply_spec(spec("work", &["job=60s", "replicas=2", "cmd=v3"]));
    world.run(Duration::from_secs(20));
    let after = at(&world);
    assert!(
        after.len() == 2 && after.iter().all(|id| !before.contains(id)),
        "{after:?}"
    );
}

#[test]
fn more_time_for_a_job_needs_no_other_instance() {
    let world = world(WORDS);
    let plan = view::preview(ctx(&world), &spec("work", &["job=90s", "replicas=2"])).unwrap();
    assert_eq!(plan.action, PlanAction::Reroute);
    let service = view::preview(ctx(&world), &spec("work", &["replicas=2"])).unwrap();
    assert_eq!(service.action, PlanAction::Replace);
}

#[test]
fn who_runs_no_jobs_says_why() {
    let mut world = world(WORDS);
    world.apply_spec(spec("web", &[]));
    let code = |world: &World, app: &str| places(world, app).unwrap_err().code;
    assert_eq!(code(&world, "nobody"), "app_not_found");
    assert_eq!(code(&world, "web"), "no_task");
    world.apply(Command::StopApp {
        app: "work".parse().unwrap(),
        at: world.now,
    });
    assert_eq!(code(&world, "work"), "conflict");
}
