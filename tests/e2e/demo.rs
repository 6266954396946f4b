//! What a newcomer sees: one command, a curl line that works, version 2 without a lost request.

use std::process::Command;

use crate::runtime::{Runtime, in_both_runtimes};
use crate::world::{LATE, World};

in_both_runtimes!(
    the_demo_serves_and_its_curl_line_works,
    auto_takes_what_is_there
);

fn the_demo_serves_and_its_curl_line_works(runtime: Runtime) {
    let mut world = World::at_rest(runtime);
    world.spawn(&["--demo"]);
    world.daemon().wait_line("demo is serving", LATE);
    let line = world.daemon().wait_line("curl ", LATE);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!(
        "{} --silent --show-error --fail --max-time 5",
        line.trim()
    ));
    let body = world.finish(&mut shell).ok();
    assert_eq!(body.split_whitespace().next(), Some("v1"), "{body}");
    assert!(body.contains("demo"), "{body}");

    let load = world.load("demo", 200);
    let v2 = world.data_dir.join("demo-v2.yaml");
    world
        .run(&["app", "apply", v2.to_str().unwrap(), "--wait"])
        .ok();
    assert_eq!(world.wait_answer("demo", "v2").status, 200);
    load.stop().assert_none_failed();
    assert!(world.interrupt().success());
}

fn auto_takes_what_is_there(runtime: Runtime) {
    let mut world = World::at_rest(runtime);
    world.flag = "auto";
    if runtime == Runtime::Process {
        let nowhere = world.dir().join("no.sock");
        world.set("DOCKER_HOST", &format!("unix://{}", nowhere.display()));
    }
    world.up(&[]);
    let nodes: serde_json::Value = world.ask("/v1/nodes").unwrap();
    let taken = nodes[0]["info"]["runtime"].as_str().unwrap();
    assert!(taken.starts_with(runtime.flag()), "{taken}");
}
