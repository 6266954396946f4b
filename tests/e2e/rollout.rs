//! New versions under load: no request may be lost.

use std::time::Duration;

use hancock_testkit::{skip, wait, wait_for};

use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{LATE, SOON, World};

in_both_runtimes!(
    a_new_version_takes_over_without_a_failed_request,
    slow_requests_end_on_the_old_version,
    a_version_that_never_gets_ready_leaves_the_old_one_alone,
    a_restart_loses_nothing,
);

/// Requests per second, half on fresh connections.
const RATE: u32 = 220;

fn a_new_version_takes_over_without_a_failed_request(runtime: Runtime) {
    let world = World::serving(runtime);
    let load = world.load("web", RATE);
    load.wait_until("load to have begun", SOON, |t| t.answered("v1") > 100);
    for round in 0..skip::rounds(1, 20) {
        let version = format!("v{}", round + 2);
        world.apply(&Spec::web(runtime).version(&version));
        load.wait_until("answers of the new version", SOON, |t| {
            t.answered(&version) > 100
        });
        let words = load.so_far().words;
        assert!(words.len() <= round + 2, "{words:?}");
        world.wait_serving("web", 3);
    }
    let tally = load.stop();
    println!("{runtime:?}: {:.0} requests/s: {tally}", tally.rate());
    tally.assert_none_failed();
    assert!(
        tally.rate() >= 200.0,
        "the load was too light: {:.0}/s",
        tally.rate()
    );
    assert!(tally.fresh.abs_diff(tally.kept) <= 1);
}

/// Requests that are open on the old instances when the switch comes are answered by them, completely.
fn slow_requests_end_on_the_old_version(runtime: Runtime) {
    let world = World::serving(runtime);
    let slow = hancock_testkit::Load::to(world.http, "web.localhost")
        .path("/slow?ms=1500")
        .rate(20)
        .start();
    let quick = world.load("web", 50);
    slow.wait_until("slow answers", SOON, |t| t.ended > 10);
    world.apply(&Spec::web(runtime).version("v2"));
    world.wait_serving("web", 3);
    slow.stop().assert_none_failed();
    quick.stop().assert_none_failed();
}

fn a_version_that_never_gets_ready_leaves_the_old_one_alone(runtime: Runtime) {
    let world = World::serving(runtime);
    let before = world.processes("web", 3);
    let load = world.load("web", 50);
    let sick = Spec::web(runtime)
        .version("v2")
        .args(&["--fail-health"])
        .more("update: {healthy_deadline: 4s}");
    let told = world.try_apply(&sick).fails(1);
    assert!(told.contains("ready") || told.contains("503"), "{told}");
    wait::stays("the old version alone", Duration::from_secs(1), || {
        let answer = world.get("web", "/")?;
        if answer.first_word() == "v1" {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    assert_eq!(
        world.processes("web", 3),
        before,
        "old instances were touched"
    );
    let tally = load.stop();
    tally.assert_none_failed();
    assert_eq!(tally.answered("v2"), 0);

    // The way out works: the same version, healthy.
    world.apply(&Spec::web(runtime).version("v3"));
    world.wait_answer("web", "v3");
}

fn a_restart_loses_nothing(runtime: Runtime) {
    let world = World::serving(runtime);
    let before = world.processes("web", 3);
    let load = world.load("web", 100);
    world.run(&["app", "restart", "web", "--wait"]).ok();
    wait_for("three others", LATE, || {
        let now = world.instances("web")?;
        let new = now
            .iter()
            .all(|i| before.iter().all(|(id, _)| *id != i.id.to_string()));
        if new && now.len() == 3 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    load.stop().assert_none_failed();
    assert!(before.iter().all(|(_, process)| !process.is_alive()));
}
