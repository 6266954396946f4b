//! Apps that cannot run: the reason reaches the one who asked, and nothing else suffers.

use hancock_testkit::wait_for;

use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{SOON, World};

in_both_runtimes!(
    a_program_that_does_not_exist_fails_with_the_reason,
    an_instance_that_ends_at_once_fails_with_its_last_lines,
    what_a_failed_instance_printed_can_be_read,
    an_app_that_does_not_fit_says_why,
);

/// Fails soon instead of trying for minutes.
const IMPATIENT: &str = "restart: {attempts: 2, interval: 1m, delay: 100ms, max_delay: 200ms}\nupdate: {healthy_deadline: 20s}";

fn a_program_that_does_not_exist_fails_with_the_reason(runtime: Runtime) {
    let world = World::serving(runtime);
    let before = world.processes("web", 3);
    let missing = Spec::web(runtime)
        .version("v2")
        .command(&["/nowhere/to-be-found"])
        .more(IMPATIENT);
    let told = world.try_apply(&missing).fails(1);
    assert!(told.contains("/nowhere/to-be-found"), "{told}");
    assert_eq!(world.processes("web", 3), before);
    world.wait_answer("web", "v1");

    let alone = missing.app("alone").version("v1");
    let told = world.try_apply(&alone).fails(1);
    assert!(told.contains("/nowhere/to-be-found"), "{told}");
    wait_for("the reason in ps", SOON, || {
        let listed = world.run(&["ps", "alone"]);
        let reason = listed.out.contains("failed") && listed.out.contains("/nowhere/to-be-found");
        if reason {
            Ok(())
        } else {
            Err(format!("{listed:?}"))
        }
    });
}

fn an_instance_that_ends_at_once_fails_with_its_last_lines(runtime: Runtime) {
    let world = World::start(runtime);
    let ends = Spec::web(runtime)
        .replicas(1)
        .args(&["--no-such-switch"])
        .more(IMPATIENT);
    let told = world.try_apply(&ends).fails(1);
    assert!(
        told.contains("no-such-switch"),
        "its last lines are missing: {told}"
    );
    wait_for("the reason in ps", SOON, || {
        let listed = world.run(&["ps", "web"]);
        let reason = listed.out.contains("failed") && listed.out.contains("no-such-switch");
        if reason {
            Ok(())
        } else {
            Err(format!("{listed:?}"))
        }
    });
}

/// What failed is gone from the cluster's mind, and its node keeps what it printed.
fn what_a_failed_instance_printed_can_be_read(runtime: Runtime) {
    let world = World::start(runtime);
    let ends = Spec::web(runtime)
        .replicas(1)
        .args(&["--no-such-switch"])
        .more(IMPATIENT);
    for version in ["v1", "v2", "v3"] {
        let told = world.try_apply(&ends.clone().version(version)).fails(1);
        assert!(told.contains("no-such-switch"), "{told}");
    }
    wait_for("the log of what failed", SOON, || {
        let printed = world.run(&["logs", "web"]);
        let lines = printed.out.lines();
        let said = lines.filter(|line| line.contains("no-such-switch"));
        if said.count() > 0 {
            Ok(())
        } else {
            Err(format!("{printed:?}"))
        }
    });
    // Two of them stay, whoever was first has gone.
    wait_for("two that have ended", SOON, || {
        let kept = world.run(&["node", "orphans"]).ok();
        let ended = kept.lines().filter(|line| line.contains("has ended"));
        let ended: Vec<_> = ended.collect();
        let newest = ended.iter().any(|line| line.contains("web-3"));
        if ended.len() == 2 && newest {
            Ok(())
        } else {
            Err(kept)
        }
    });
}

fn an_app_that_does_not_fit_says_why(runtime: Runtime) {
    let world = World::start(runtime);
    let huge = Spec::web(runtime).text().replace("64MiB", "900000GiB");
    let file = world.write("huge.yaml", &huge);
    let plan = world.run(&["app", "plan", &file]).ok();
    assert!(plan.contains("memory"), "{plan}");
}
