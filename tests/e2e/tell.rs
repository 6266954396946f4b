//! What the command line tells: logs, events, status, and JSON that reads back into the documented types.

use hancock_proto::api::{
    AppDetail, AppSummary, DeploymentView, InstanceView, NodeView, StatusView, VersionInfo,
};
use hancock_proto::event::Event;
use hancock_testkit::{Daemon, wait_for};
use serde::de::DeserializeOwned;

use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{SOON, World};

in_both_runtimes!(logs_follow_the_instances, logs_survive_the_daemon);

fn logs_follow_the_instances(runtime: Runtime) {
    let world = World::serving(runtime);
    let ids: Vec<String> = world
        .wait_serving("web", 3)
        .iter()
        .map(|i| i.id.to_string())
        .collect();
    let printed = wait_for("lines of every instance", SOON, || {
        let printed = world.run(&["logs", "web"]).ok();
        if ids.iter().all(|id| printed.contains(id)) {
            Ok(printed)
        } else {
            Err(printed)
        }
    });
    let tail = world.run(&["logs", "--tail", "1", "web"]).ok();
    assert!(
        tail.lines().count() <= 3 && tail.lines().count() < printed.lines().count().max(4),
        "{tail}"
    );

    let mut follow = world.client(&["logs", "--follow", "web"]);
    let mut follow = Daemon::start(&mut follow, &world.dir().join("follow"));
    follow.wait_line(&ids[0], SOON);
    world.get("web", "/log?line=a-line-of-my-own").unwrap();
    follow.wait_line("a-line-of-my-own", SOON);
}

fn logs_survive_the_daemon(runtime: Runtime) {
    let mut world = World::serving(runtime);
    let before = world.run(&["logs", "web"]).ok();
    assert!(!before.trim().is_empty());
    world.crash();
    world.up(&[]);
    world.wait_serving("web", 3);
    let after = world.run(&["logs", "web"]).ok();
    for line in before.lines() {
        assert!(after.contains(line), "{line:?} is lost:\n{after}");
    }
}

#[test]
fn events_tell_the_whole_story_in_order() {
    let world = World::start(Runtime::Process);
    let mut follow = world.client(&["events", "--follow"]);
    let mut follow = Daemon::start(&mut follow, &world.dir().join("events"));
    world.apply(&Spec::web(Runtime::Process));
    follow.wait_line("deployment_successful", SOON);
    let events: Vec<Event> = world.ask("/v1/events?after=0").unwrap();
    assert!(
        events
            .windows(2)
            .all(|pair| pair[1].number == pair[0].number + 1),
        "{events:#?}"
    );
    let place = |kind: &str| {
        events
            .iter()
            .position(|e| e.kind == kind)
            .unwrap_or_else(|| panic!("{kind}: {events:#?}"))
    };
    let story = [
        "node_joined",
        "app_applied",
        "deployment_started",
        "instance_placed",
        "instance_running",
        "deployment_promoted",
        "deployment_successful",
    ];
    let places: Vec<usize> = story.iter().map(|kind| place(kind)).collect();
    assert!(places.is_sorted(), "{story:?} {places:?}");
}

#[test]
fn json_output_reads_back_into_the_documented_types() {
    let world = World::serving(Runtime::Process);
    let apps: Vec<AppSummary> = list(&world, &["app", "list"]);
    assert_eq!((apps.len(), apps[0].serving), (1, 3));
    let detail: Vec<AppDetail> = list(&world, &["app", "show", "web"]);
    assert_eq!(detail[0].spec.replicas, 3);
    let instances: Vec<InstanceView> = list(&world, &["ps"]);
    assert_eq!(instances.len(), 3);
    let nodes: Vec<NodeView> = list(&world, &["node", "list"]);
    assert_eq!(nodes[0].instances, 3);
    let history: Vec<VersionInfo> = list(&world, &["app", "history", "web"]);
    assert!(history[0].stable);
    let events: Vec<Event> = list(&world, &["events"]);
    assert!(events.len() > 5);
    let status: Vec<StatusView> = list(&world, &["status"]);
    assert_eq!(status[0].apps, 1);
    let deployment = detail[0].deployment.as_ref().unwrap().id.to_string();
    let deployment: Vec<DeploymentView> = list(&world, &["deployment", "status", &deployment]);
    assert!(deployment[0].done && deployment[0].ok);
}

/// The values a command prints with `--output json`, one or an array per line.
#[track_caller]
fn list<T: DeserializeOwned>(world: &World, args: &[&str]) -> Vec<T> {
    let printed = world.run(&[args, &["--output", "json"]].concat()).ok();
    let values = serde_json::Deserializer::from_str(&printed).into_iter::<serde_json::Value>();
    let flat = values.flat_map(|value| {
        match value.unwrap_or_else(|e| panic!("{args:?}: {e}:\n{printed}")) {
            serde_json::Value::Array(list) => list,
            value => vec![value],
        }
    });
    flat.map(|v| serde_json::from_value(v).unwrap_or_else(|e| panic!("{args:?}: {e}:\n{printed}")))
        .collect()
}

#[test]
fn the_balancer_shows_what_it_serves() {
    let world = World::serving(Runtime::Process);
    let status = hancock_testkit::http::get(world.admin, "admin", "/status").unwrap();
    assert_eq!(status.status, 200);
    assert!(status.body.contains("web.localhost"), "{}", status.body);
    let json: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert!(json.is_object());
}
