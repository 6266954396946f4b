//! Checks that no balancer can make: by a command inside an instance, and by the image itself.

use std::time::Duration;

use hancock_proto::api::InstanceView;
use hancock_testkit::{docker, wait_for};

use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{SOON, World};

in_both_runtimes!(a_command_gates_a_new_version);

/// Fails in version v2, and while somebody wants it to.
const SCRIPT: &str = "f=/tmp/sick-$HANCOCK_INSTANCE; test -e $f && read x < $f && test $x = yes && { echo sick of $HANCOCK_APP; exit 3; }; \
                      test $DEMO_VERSION != v2 || { echo v2 is no good; exit 4; }";

fn a_command_gates_a_new_version(runtime: Runtime) {
    let world = World::start(runtime);
    let check = serde_json::json!({
        "type": "command", "command": SCRIPT, "interval": "500ms", "start_interval": "200ms", "fall": 2,
    });
    let web = |version: &str| {
        let mut spec = Spec::web(runtime).replicas(2).version(version);
        spec.image = runtime.image_with_shell();
        spec.more(&format!("healthcheck: {check}"))
    };
    world.apply(&web("v1"));
    world.wait_answer("web", "v1");
    gates(&world, &web);
    // A running one whose check fails gets no requests until it passes again.
    let sick = world.wait_serving("web", 2)[0].id.to_string();
    turns_sick_and_well(&world, &sick);
}

#[test]
fn the_images_own_check_gates_a_new_version() {
    let Some(runtime) = Runtime::Docker.or_skip() else {
        return;
    };
    let tag = format!("hancock-test/checked:{}", std::process::id());
    let script = serde_json::json!(["/bin/sh", "-c", SCRIPT]);
    let check = format!("HEALTHCHECK --interval=300ms --retries=2 CMD {script}");
    docker::derive(&runtime.image_with_shell().unwrap(), &check, &tag).unwrap();
    let world = World::start(runtime);
    let web = |version: &str| {
        let mut spec = Spec::web(runtime).replicas(2).version(version);
        spec.image = Some(tag.clone());
        spec.unchecked()
    };
    world.apply(&web("v1"));
    world.wait_answer("web", "v1");
    gates(&world, &web);
    let sick = world.wait_serving("web", 2)[0].id.to_string();
    turns_sick_and_well(&world, &sick);
    // Switched off, it stops nobody.
    world.apply(&web("v2").more("healthcheck: {type: none}"));
    world.wait_answer("web", "v2");
    // With its world those containers go that have ended and are kept.
    drop(world);
    docker::run(&["image", "rm", &tag]).unwrap();
}

/// A version that is never ready does not take over, and the one that serves loses nothing.
fn gates(world: &World, web: &dyn Fn(&str) -> Spec) {
    let load = world.load("web", 50);
    let told = world
        .try_apply(&web("v2").more("update: {healthy_deadline: 8s}"))
        .fails(1);
    assert!(told.contains("v2 is no good"), "{told}");
    let answered = load.so_far();
    assert!(answered.answered("v1") > 0 && answered.answered("v2") == 0);
    world.apply(&web("v3"));
    world.wait_answer("web", "v3");
    load.stop().assert_none_failed();
}

fn turns_sick_and_well(world: &World, id: &str) {
    let turn = |word: &str| {
        let script = format!("echo {word} > /tmp/sick-{id}");
        world
            .run(&["exec", id, "--", "/bin/sh", "-c", &script])
            .ok();
    };
    turn("yes");
    let sick = until(world, id, "not ready", |i| {
        !i.ready.as_ref().is_some_and(|c| c.value)
    });
    let reason = sick.ready.unwrap().reason;
    assert_eq!(reason, "its check ended with exit code 3: sick of web");
    let shown = world.run(&["instance", "show", id]).ok();
    assert!(shown.contains("sick of web"), "{shown}");
    let load = world.load("web", 50);
    load.wait_until("answers of the other", Duration::from_secs(30), |t| {
        t.ended > 50
    });
    load.stop().assert_none_failed();
    turn("no");
    until(world, id, "ready", |i| {
        i.ready.as_ref().is_some_and(|c| c.value)
    });
    if world.runtime == Runtime::Process {
        std::fs::remove_file(format!("/tmp/sick-{id}")).unwrap();
    }
}

fn until(world: &World, id: &str, what: &str, is: impl Fn(&InstanceView) -> bool) -> InstanceView {
    wait_for(what, SOON, || {
        let all = world.instances("web")?;
        let one = all.into_iter().find(|i| i.id.to_string() == id);
        one.filter(|i| is(i)).ok_or("not yet".to_owned())
    })
}
