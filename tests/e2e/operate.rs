//! What an operator does with a running app, and what the balancer then answers.

use hancock_proto::api::{StatusView, VersionInfo};
use hancock_proto::ids::Version;
use hancock_testkit::proc::Process;
use hancock_testkit::wait_for;

use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{SOON, World};

/// What stands in a process's control group as its limit of memory, in bytes, in either version of control groups.
fn memory_limit(process: &Process) -> Result<String, String> {
    let of = format!("/proc/{}/cgroup", process.pid);
    let groups = std::fs::read_to_string(&of).map_err(|e| format!("{of}: {e}"))?;
    let group = |name: &str| {
        let mut lines = groups
            .lines()
            .filter_map(|l| l.split_once(':')?.1.split_once(':'));
        lines
            .find(|(names, _)| names.split(',').any(|n| n == name))
            .map(|(_, path)| path)
    };
    let file = match group("memory") {
        Some(path) => format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"),
        None => format!("/sys/fs/cgroup{}/memory.max", group("").unwrap_or_default()),
    };
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
    Ok(text.trim().to_owned())
}

in_both_runtimes!(
    scaling_keeps_serving,
    a_stopped_app_starts_again,
    a_deleted_app_is_gone,
    an_instance_is_replaced_without_a_gap,
    limits_change_without_a_restart
);

fn scaling_keeps_serving(runtime: Runtime) {
    let world = World::serving(runtime);
    let before = world.processes("web", 3);
    let load = world.load("web", 100);
    world.run(&["app", "scale", "web", "5", "--wait"]).ok();
    let more = world.processes("web", 5);
    assert!(
        before.iter().all(|old| more.contains(old)),
        "scaling replaced instances"
    );
    world.run(&["app", "scale", "web", "1", "--wait"]).ok();
    world.wait_serving("web", 1);
    load.stop().assert_none_failed();
}

fn a_stopped_app_starts_again(runtime: Runtime) {
    let world = World::serving(runtime);
    let before = world.processes("web", 3);
    world.run(&["app", "stop", "web", "--wait"]).ok();
    wait_for("the end of all instances", SOON, || {
        let left: Vec<_> = before
            .iter()
            .filter(|(_, process)| process.is_alive())
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    assert_eq!(world.get("web", "/").unwrap().status, 502);
    assert!(world.detail("web").unwrap().summary.stopped);
    world.run(&["app", "start", "web", "--wait"]).ok();
    world.wait_serving("web", 3);
    world.wait_answer("web", "v1");
}

fn an_instance_is_replaced_without_a_gap(runtime: Runtime) {
    let world = World::start(runtime);
    world.apply(&Spec::web(runtime).replicas(1));
    let before = world.processes("web", 1);
    let load = world.load("web", 100);
    let id = before[0].0.as_str();
    world.run(&["instance", "restart", id, "--wait"]).ok();
    let after = world.processes("web", 1);
    assert!(after[0].0 != id && after[0].1 != before[0].1, "{after:?}");
    assert!(!before[0].1.is_alive());
    let shown = world.run(&["instance", "show", &after[0].0]).ok();
    assert!(shown.contains("serving"), "{shown}");
    load.stop().assert_none_failed();
    // A signal that it does not survive is an end like any other: it is started again.
    let next = after[0].0.as_str();
    world.run(&["instance", "kill", next]).ok();
    wait_for("another start", SOON, || {
        let now = world.instances("web")?;
        match now.iter().any(|i| i.id.as_str() == next && i.restarts == 1) {
            true => Ok(()),
            false => Err(format!("{now:?}")),
        }
    });
    let wrong = world
        .run(&["instance", "kill", "-s", "NONE", next])
        .fails(2);
    assert!(wrong.contains("no signal"), "{wrong}");
    let gone = world.run(&["instance", "restart", id]).fails(4);
    assert!(
        gone.contains("there is no instance") || gone.contains("on its way out"),
        "{gone}"
    );
}

fn a_deleted_app_is_gone(runtime: Runtime) {
    let world = World::serving(runtime);
    let before = world.processes("web", 3);
    world.run(&["app", "delete", "web", "--wait"]).ok();
    wait_for("the end of the app", SOON, || {
        let left: Vec<_> = before
            .iter()
            .filter(|(_, process)| process.is_alive())
            .collect();
        match world.detail("web") {
            Err(gone) if gone.contains("404") && left.is_empty() => Ok(()),
            other => Err(format!("{other:?} {left:?}")),
        }
    });
    wait_for("an unknown host", SOON, || {
        match world.get("web", "/")?.status {
            404 | 502 | 503 => Ok(()),
            status => Err(status.to_string()),
        }
    });
    // The name is free again.
    world.apply(&Spec::web(runtime).version("again"));
    world.wait_answer("web", "again");
}

#[test]
fn a_rollback_goes_to_the_last_good_version() {
    let runtime = Runtime::Process;
    let world = World::serving(runtime);
    world.apply(&Spec::web(runtime).version("v2"));
    let sick = Spec::web(runtime)
        .version("v3")
        .args(&["--fail-health"])
        .more("update: {healthy_deadline: 3s}");
    world.try_apply(&sick).fails(1);
    world.wait_answer("web", "v2");

    let load = world.load("web", 100);
    world
        .run(&["app", "rollback", "web", "--version", "1", "--wait"])
        .ok();
    world.wait_answer("web", "v1");
    load.stop().assert_none_failed();

    let history: Vec<VersionInfo> = world.ask("/v1/apps/web/history").unwrap();
    let stable = |n: u64| {
        history
            .iter()
            .find(|v| v.version == Version(n))
            .is_some_and(|v| v.stable)
    };
    assert!(stable(1) && stable(2) && !stable(3), "{history:#?}");
    let shown = world.run(&["app", "history", "web"]).ok();
    assert!(
        shown.contains("failed") && shown.contains("successful"),
        "{shown}"
    );
}

#[test]
fn what_a_lost_cluster_left_is_found_and_removed() {
    let mut world = World::serving(Runtime::Process);
    let cluster = world.ask::<StatusView>("/v1/status").unwrap().cluster;
    let before = world.processes("web", 3);
    world.crash();
    // Masters and journal are gone; what runs goes on.
    for lost in ["master", "agent", "balancer"] {
        std::fs::remove_dir_all(world.data_dir.join(lost)).unwrap();
    }
    world.up(&[]);
    world.apply(&Spec::web(Runtime::Process).app("new").replicas(1));
    let listed = world.run(&["node", "orphans"]).ok();
    for (id, process) in &before {
        assert!(process.is_alive() && listed.contains(id), "{listed}");
    }
    let node = world.node.clone();
    let line = format!("hancock node purge {node} --cluster {cluster}");
    assert!(listed.contains(&line), "{listed}");
    let own = world.ask::<StatusView>("/v1/status").unwrap().cluster;
    let purge = |cluster: &str| world.run(&["node", "purge", &node, "--cluster", cluster]);
    let refused = purge(own.as_str()).fails(4);
    assert!(refused.contains("the node's own"), "{refused}");
    let removed = purge(cluster.as_str()).ok();
    assert!(
        before.iter().all(|(id, _)| removed.contains(id)),
        "{removed}"
    );
    assert!(before.iter().all(|(_, process)| !process.is_alive()));
    assert_eq!(world.run(&["node", "orphans"]).ok(), "no orphans\n");
    assert!(
        purge(cluster.as_str())
            .ok()
            .starts_with("nothing of cluster")
    );
    world.wait_answer("new", "v1");
}

#[test]
fn plan_tells_and_changes_nothing() {
    let world = World::serving(Runtime::Process);
    let before = world.processes("web", 3);
    let file = world.write("v2.yaml", &Spec::web(Runtime::Process).version("v2").text());
    let plan = world.run(&["app", "plan", &file]).ok();
    assert!(
        plan.contains("DEMO_VERSION") && plan.contains("v2"),
        "{plan}"
    );
    assert_eq!(world.processes("web", 3), before);
    let same = world.write("v1.yaml", &Spec::web(Runtime::Process).text());
    world.run(&["app", "apply", &same, "--wait"]).ok();
    assert_eq!(
        world.processes("web", 3),
        before,
        "an unchanged spec replaced instances"
    );
}

#[test]
fn a_deployment_can_be_aborted() {
    let runtime = Runtime::Process;
    let world = World::serving(runtime);
    let before = world.processes("web", 3);
    let slow = Spec::web(runtime)
        .version("v2")
        .args(&["--warmup", "60s"])
        .text();
    world
        .run(&["app", "apply", &world.write("slow.yaml", &slow)])
        .ok();
    let deployment = wait_for("the deployment", SOON, || {
        let deployment = world.detail("web")?.deployment.ok_or("none")?;
        if deployment.done {
            Err("still the old one".to_owned())
        } else {
            Ok(deployment)
        }
    });
    world
        .run(&["deployment", "abort", &deployment.id.to_string()])
        .ok();
    wait_for("its end", SOON, || {
        let now = world.instances("web")?;
        if now.len() == 3 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    assert_eq!(world.processes("web", 3), before);
    world.wait_answer("web", "v1");
}

fn limits_change_without_a_restart(runtime: Runtime) {
    let world = World::start(runtime);
    let spec = Spec::web(runtime).replicas(2);
    world.apply(&spec.clone().more("limits: {memory: 96MiB}"));
    let before = world.processes("web", 2);
    for (_, process) in &before {
        assert_eq!(memory_limit(process).unwrap(), (96 << 20).to_string());
    }
    let load = world.load("web", 100);
    let file = world.write("more.yaml", &spec.more("limits: {memory: 300MiB}").text());
    let plan = world.run(&["app", "plan", &file]).ok();
    assert!(plan.contains("limits change in place"), "{plan}");
    world.run(&["app", "apply", &file, "--wait"]).ok();
    wait_for("the new limits", SOON, || {
        let limits: Result<Vec<_>, String> = before.iter().map(|(_, p)| memory_limit(p)).collect();
        match limits?
            .iter()
            .all(|limit| *limit == (300 << 20).to_string())
        {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    assert_eq!(world.processes("web", 2), before);
    load.stop().assert_none_failed();
}
