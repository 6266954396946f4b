//! Instances and daemons that die, and daemons that are stopped: who goes on, who comes back, and how soon.

use std::time::{Duration, Instant};

use hancock_testkit::{docker, http, proc, skip, wait_for};
use nix::sys::signal::Signal;

use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{SOON, World, address};

in_both_runtimes!(
    a_killed_instance_is_replaced_at_once,
    instances_outlive_a_crashed_daemon_and_are_adopted,
    ctrl_c_stops_instances_and_the_next_start_finds_the_apps,
    kept_instances_are_adopted,
    a_second_ctrl_c_stops_at_once,
    an_instance_that_died_while_the_daemon_was_away_is_replaced,
);

/// Time beyond its own start that a replacement may take.
const REPLACED: Duration = Duration::from_millis(1500);
/// A machine shared with others may be late; it is not late this often in a row.
const KILLS: usize = 3;

fn a_killed_instance_is_replaced_at_once(runtime: Runtime) {
    let world = World::serving(runtime);
    for _ in 0..skip::rounds(1, 30) {
        let kills = std::iter::repeat_with(|| kill_one(&world)).take(KILLS);
        let soon = |(took, start): &(Duration, Duration)| *took <= REPLACED + *start;
        let slow: Vec<_> = kills.take_while(|kill| !soon(kill)).collect();
        assert!(
            slow.len() < KILLS,
            "replaced after (time, start alone): {slow:.2?}, allowed {REPLACED:?} more than a start"
        );
    }
}

/// Kills one of four instances under load. How long its replacement took to serve, and how long a start takes here and now.
fn kill_one(world: &World) -> (Duration, Duration) {
    world.run(&["app", "scale", "web", "3", "--wait"]).ok();
    world.wait_serving("web", 3);
    let asked = Instant::now();
    world.run(&["app", "scale", "web", "4", "--wait"]).ok();
    let start = asked.elapsed();
    let instances = world.wait_serving("web", 4);
    // Only the first restart of an instance comes at once; the newest one had none.
    let fresh = instances.iter().find(|i| i.restarts == 0);
    let victim = fresh.expect("an instance that never died");
    let process = world.process(victim);
    let load = world.load("web", 200);
    load.wait_until("load to have begun", SOON, |t| t.answered("v1") > 50);
    let killed = Instant::now();
    process.signal(Signal::SIGKILL);
    wait_for("the end of the old process", SOON, || {
        if process.is_alive() {
            Err("alive")
        } else {
            Ok(())
        }
    });
    let id = victim.id.to_string();
    wait_for("an answer of its replacement", SOON, || {
        let answer = world.get("web", "/")?;
        // The same instance started again, or another one in its place; web-2 is not web-27.
        let is = |id: &str| answer.body.split_whitespace().any(|word| word == id);
        let mut others = instances.iter().filter(|i| i.id != victim.id);
        let new = is(&id) || others.all(|other| !is(&other.id.to_string()));
        if answer.status == 200 && new {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    let took = killed.elapsed();
    println!(
        "{:?}: replaced after {took:.2?}, a start takes {start:.2?}",
        world.runtime
    );
    let tally = load.stop();
    let late: Vec<_> = tally.failures.iter().filter(|f| f.sent > killed).collect();
    assert!(
        late.is_empty(),
        "requests sent after the kill failed: {tally}"
    );
    (took, start)
}

fn instances_outlive_a_crashed_daemon_and_are_adopted(runtime: Runtime) {
    let mut world = World::serving(runtime);
    for _ in 0..skip::rounds(1, 10) {
        let before = world.processes("web", 3);
        let addresses: Vec<_> = world.wait_serving("web", 3).iter().map(address).collect();
        let count = running(&world);
        world.crash();
        for at in &addresses {
            assert_eq!(
                http::get(*at, "web.localhost", "/").unwrap().first_word(),
                "v1"
            );
        }
        world.up(&[]);
        world.wait_answer("web", "v1");
        assert_eq!(world.processes("web", 3), before, "not the same processes");
        let restarts: u32 = world
            .instances("web")
            .unwrap()
            .iter()
            .map(|i| i.restarts)
            .sum();
        assert_eq!(restarts, 0);
        assert_eq!(running(&world), count, "a duplicate was started");
        // Still looked after: the adopted ones can be replaced and stopped.
        world.run(&["app", "scale", "web", "2", "--wait"]).ok();
        world.wait_serving("web", 2);
        world.run(&["app", "scale", "web", "3", "--wait"]).ok();
    }
}

/// How many instances really run, whoever knows of them.
fn running(world: &World) -> usize {
    match world.runtime {
        Runtime::Docker => {
            let label = format!("label=hancock.node={}", world.node);
            docker::run(&["ps", "--quiet", "--filter", &label])
                .unwrap()
                .lines()
                .count()
        }
        Runtime::Process => {
            let demo = |p: &proc::Process| {
                let command = std::fs::read(format!("/proc/{}/cmdline", p.pid)).unwrap_or_default();
                let words: Vec<&[u8]> = command.split(|b| *b == 0).collect();
                words.get(1) == Some(&b"demo-app".as_slice())
            };
            proc::belonging_to(&world.data_dir)
                .iter()
                .filter(|p| demo(p))
                .count()
        }
    }
}

fn ctrl_c_stops_instances_and_the_next_start_finds_the_apps(runtime: Runtime) {
    let mut world = World::serving(runtime);
    world.apply(&Spec::web(runtime).app("other").replicas(1));
    let mut before = world.processes("web", 3);
    before.extend(world.processes("other", 1));
    assert!(world.interrupt().success());
    assert!(
        before.iter().all(|(_, process)| !process.is_alive()),
        "instances were left running"
    );
    assert_eq!(running(&world), 0);

    world.up(&[]);
    world.wait_serving("web", 3);
    world.wait_serving("other", 1);
    world.wait_answer("web", "v1");
    world.wait_answer("other", "v1");
}

fn kept_instances_are_adopted(runtime: Runtime) {
    let mut world = World::at_rest(runtime);
    world.up(&["--keep"]);
    world.apply(&Spec::web(runtime));
    let before = world.processes("web", 3);
    assert!(world.interrupt().success());
    assert!(
        before.iter().all(|(_, process)| process.is_alive()),
        "instances were stopped"
    );
    world.up(&[]);
    assert_eq!(world.processes("web", 3), before);
    world.wait_answer("web", "v1");
}

fn a_second_ctrl_c_stops_at_once(runtime: Runtime) {
    let mut world = World::start(runtime);
    let stubborn = Spec::web(runtime).replicas(1).args(&["--ignore-term"]);
    world.apply(&stubborn.more("stop: {drain_timeout: 10s, grace_period: 25s}"));
    let asked = Instant::now();
    world.daemon().signal(Signal::SIGINT);
    world.daemon().wait_line("Ctrl-C again", SOON);
    world.daemon().signal(Signal::SIGINT);
    let status = world.daemon().wait_exit(SOON);
    assert_eq!(status.code(), Some(130));
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}

fn an_instance_that_died_while_the_daemon_was_away_is_replaced(runtime: Runtime) {
    let mut world = World::serving(runtime);
    let before = world.processes("web", 3);
    world.crash();
    before[0].1.signal(Signal::SIGKILL);
    wait_for("its end", SOON, || {
        if before[0].1.is_alive() {
            Err("alive")
        } else {
            Ok(())
        }
    });
    world.up(&[]);
    let load = world.load("web", 100);
    let after = world.processes("web", 3);
    let same = before
        .iter()
        .filter(|(_, old)| after.iter().any(|(_, new)| new == old))
        .count();
    assert_eq!(same, 2, "{before:?} {after:?}");
    load.stop().assert_none_failed();
}
