//! A Docker engine that goes away and comes back.

mod faults;

use std::time::Duration;

use hancock_testkit::relay::Relay;
use hancock_testkit::{docker, wait, wait_for};

use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::world::{SOON, World};

#[test]
fn an_engine_that_goes_away_harms_nothing_and_is_taken_up_again() {
    let Some(runtime) = Runtime::Docker.or_skip() else {
        return;
    };
    let mut world = World::at_rest(runtime);
    let front = world.dir().join("docker.sock");
    let mut engine = Relay::open(&front, &docker::socket());
    world.set("DOCKER_HOST", &format!("unix://{}", front.display()));
    world.up(&[]);
    world.apply(&Spec::web(runtime));
    let before = world.processes("web", 3);
    let load = world.load("web", 100);

    engine.cut();
    // Without an engine nothing is known of the containers: that is no reason to call them gone.
    wait::stays("serving without an engine", Duration::from_secs(4), || {
        let serving = world.detail("web")?.summary.serving;
        if serving == 3 {
            Ok(())
        } else {
            Err(format!("{serving} serving"))
        }
    });
    // One dies meanwhile, unseen by any event.
    before[0].1.signal(nix::sys::signal::Signal::SIGKILL);
    engine.restore();
    wait_for("three again", SOON, || {
        let now = world.instances("web")?;
        let alive = now
            .iter()
            .filter(|i| i.routed && i.ready.as_ref().is_some_and(|r| r.value))
            .count();
        if alive == 3
            && now
                .iter()
                .any(|i| i.restarts > 0 || before.iter().all(|(id, _)| *id != i.id.to_string()))
        {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    let after = world.processes("web", 3);
    let same = before
        .iter()
        .filter(|(_, old)| after.iter().any(|(_, new)| new == old))
        .count();
    assert_eq!(
        same, 2,
        "containers that lived were touched: {before:?} {after:?}"
    );
    let tally = load.stop();
    // Only what was open on the killed one may have failed.
    assert!(tally.failed() <= 2, "{tally}");
    world.apply(&Spec::web(runtime).version("v2"));
    world.wait_answer("web", "v2");
}
