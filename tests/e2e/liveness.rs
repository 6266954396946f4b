//! Instances whose checks fail are restarted, and nobody notices.

use std::time::Duration;

use hancock_testkit::{http, wait_for};

use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{SOON, World, address};

in_both_runtimes!(one_whose_checks_fail_is_restarted);

const CHECK: &str = "healthcheck: {type: http, port: http, path: /healthz, interval: 200ms, start_interval: 50ms, timeout: 200ms, fall: 2}\n\
                     liveness: {after_failures: 5}";
const FAIL: &str =
    "POST /fail-health HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn one_whose_checks_fail_is_restarted(runtime: Runtime) {
    let world = World::start(runtime);
    world.apply(&Spec::web(runtime).more(CHECK));
    let before = world.processes("web", 3);
    let load = world.load("web", 100);
    let sick = world.instances("web").unwrap().into_iter().next().unwrap();
    let told = http::request(address(&sick), FAIL).unwrap();
    assert_eq!(told.status, 200);
    wait_for("its restart", SOON, || {
        let now = world.instances("web")?;
        let it = now.iter().find(|i| i.id == sick.id).ok_or("it is gone")?;
        let ready = it.ready.as_ref().is_some_and(|c| c.value);
        if ready && it.restarts == 1 {
            Ok(())
        } else {
            Err(format!("{it:?}"))
        }
    });
    let after = world.processes("web", 3);
    let same = before.iter().filter(|one| after.contains(one)).count();
    assert_eq!(same, 2, "one was restarted: {before:?} {after:?}");
    let so_far = load.so_far().answered("v1");
    load.wait_until("more answers", Duration::from_secs(30), |t| {
        t.answered("v1") > so_far + 100
    });
    let tally = load.stop();
    assert!(tally.causes.is_empty(), "{tally}");
    let events = world.run(&["events"]).ok();
    assert!(events.contains("was asked to restart"), "{events}");
}
