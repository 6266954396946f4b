//! Jobs of a task, as an operator runs them: in containers that wait for them.

use std::process::{Child, Stdio};
use std::time::Duration;

use hancock_proto::api::InstanceView;
use hancock_testkit::{wait, wait_for};

use crate::runtime::Runtime;
use crate::world::{Ran, SOON, World};

/// A task with a shell; its own command tells where it runs.
fn world() -> Option<World> {
    let runtime = Runtime::Docker.or_skip()?;
    let world = World::start(runtime);
    apply(&world, "one", &["--wait"]);
    Some(world)
}

fn apply(world: &World, word: &str, how: &[&str]) {
    let image = world.runtime.image_with_shell().unwrap();
    let spec = format!(
        "app: work\nkind: task\ntask: {{reuse: true}}\nimage: {image}\nenvironment: {{WORD: {word}}}\n\
         command: [/bin/sh, -c, 'echo $WORD in $HOSTNAME']\nstop: {{grace_period: 30s}}\n"
    );
    let file = world.write("work.yaml", &spec);
    world.run(&[&["app", "apply", &file], how].concat()).ok();
}

/// A job that is this script.
fn job(world: &World, script: &str) -> Ran {
    world.run(&["run", "work", "--", "/bin/sh", "-c", script])
}

#[test]
fn jobs_run_in_a_container_that_stays() {
    let Some(world) = world() else { return };
    let first = world.run(&["run", "work"]).ok();
    assert!(first.starts_with("one in "), "{first}");
    assert_eq!(world.run(&["run", "work"]).ok(), first, "another container");
    let both = job(&world, "echo out; echo err >&2; exit 9");
    assert_eq!(
        (both.out.as_str(), both.err.as_str(), both.code),
        ("out\n", "err\n", Some(9))
    );
    assert_eq!(job(&world, "kill -KILL $$").code, Some(128 + 9));
    // What a job leaves behind is gone before the next one begins.
    job(&world, "sleep 1000 & echo $! > /left").ok();
    let left = job(
        &world,
        "kill -0 $(cat /left) 2>/dev/null && echo runs || echo gone",
    )
    .ok();
    assert_eq!(left, "gone\n");
    let missing = world.run(&["run", "work", "--", "/no/such/program"]);
    assert!(
        [Some(125), Some(126), Some(127)].contains(&missing.code),
        "{missing:?}"
    );
    assert!(missing.err.contains("/no/such/program"), "{missing:?}");
    world.run(&["run", "work"]).ok();
}

#[test]
fn what_cannot_run_jobs_says_why() {
    let Some(world) = world() else { return };
    let nobody = world.run(&["run", "nobody"]).fails(125);
    assert!(nobody.contains("there is no app nobody"), "{nobody}");
    world.apply(&crate::spec::Spec::web(world.runtime));
    let web = world.run(&["run", "web"]).fails(125);
    assert!(
        web.contains("is no task") && web.contains("hancock exec web"),
        "{web}"
    );
    world.run(&["app", "stop", "work", "--wait"]).ok();
    let stopped = world.run(&["run", "work"]).fails(125);
    assert!(stopped.contains("is stopped"), "{stopped}");
}

#[test]
fn a_job_waits_for_its_turn_and_leaves_with_its_client() {
    let Some(world) = world() else { return };
    let mut long = running(&world);
    // A person looks into the container meanwhile and takes nobody's turn.
    world
        .run(&["exec", "work", "--", "/bin/sh", "-c", "test -e /begun"])
        .ok();
    let refused = world.run(&["run", "work", "--wait", "100ms"]).fails(125);
    assert!(
        refused.contains("the only instance of work had other jobs"),
        "{refused}"
    );
    // Nobody waits for the long one any more: it ends, and the next one has its turn.
    long.kill().unwrap();
    long.wait().unwrap();
    world.run(&["run", "work"]).ok();

    // Two instances have two at the same time.
    world.run(&["app", "scale", "work", "2", "--wait"]).ok();
    let mut long = running(&world);
    world.run(&["run", "work"]).ok();
    long.kill().unwrap();
    long.wait().unwrap();
}

#[test]
fn an_update_lets_a_job_finish() {
    let Some(world) = world() else { return };
    let script = "true > /begun; until [ -e /go ]; do sleep 0.1; done; echo $WORD";
    let mut command = world.client(&["run", "work", "--", "/bin/sh", "-c", script]);
    let client = command.stdout(Stdio::piped()).spawn().unwrap();
    wait_begun(&world);
    let old = world.instances("work").unwrap()[0].id.to_string();
    apply(&world, "two", &[]);
    wait_for("the new version", SOON, || {
        match world.run(&["run", "work"]) {
            ran if ran.out.starts_with("two in ") => Ok(()),
            ran => Err(format!("{ran:?}")),
        }
    });
    // The old one has been told to end, and does when its job has.
    wait::stays("the job goes on", Duration::from_secs(1), || {
        let all: Vec<InstanceView> = world.ask("/v1/instances?app=work")?;
        match all.iter().find(|i| i.id.as_str() == old) {
            Some(old) if !old.life.is_over() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    world
        .run(&["exec", &old, "--", "/bin/sh", "-c", "true > /go"])
        .ok();
    let ran = client.wait_with_output().unwrap();
    assert_eq!(
        (
            String::from_utf8_lossy(&ran.stdout).as_ref(),
            ran.status.code()
        ),
        ("one\n", Some(0))
    );
}

/// A client whose job runs until it is ended.
fn running(world: &World) -> Child {
    let script = "true > /begun; sleep 1000";
    let client = world
        .client(&["run", "work", "--", "/bin/sh", "-c", script])
        .spawn()
        .unwrap();
    wait_begun(world);
    client
}

fn wait_begun(world: &World) {
    wait_for("the job's begin", SOON, || {
        let all = world.instances("work")?;
        let begun = |i: &InstanceView| {
            let id = i.id.as_str();
            world
                .run(&["exec", id, "--", "/bin/sh", "-c", "test -e /begun"])
                .code
                == Some(0)
        };
        match all.iter().any(begun) {
            true => Ok(()),
            false => Err("none".to_owned()),
        }
    });
}
