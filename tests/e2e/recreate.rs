//! Apps of which never two run at once: what runs stops before the next version starts, and what a failed one leaves is taken up again.

use hancock_proto::app::Strategy;
use hancock_testkit::wait_for;

use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{SOON, World};

in_both_runtimes!(the_old_one_has_stopped_before_the_new_one_starts);

const RECREATE: &str = "update: {strategy: recreate, healthy_deadline: 20s}\n\
                        restart: {attempts: 1, interval: 1m, delay: 100ms, max_delay: 200ms}";

fn the_old_one_has_stopped_before_the_new_one_starts(runtime: Runtime) {
    let world = World::start(runtime);
    let web = Spec::web(runtime).replicas(1).more(RECREATE);
    world.apply(&web);
    let before = world.processes("web", 1);
    world.apply(&web.clone().version("v2"));
    world.wait_answer("web", "v2");
    let after = world.processes("web", 1);
    assert!(!before[0].1.is_alive(), "{before:?}");

    // The deed of stopping is over, by its node's word, before the new one has a place.
    let events = world.run(&["events"]).ok();
    let at = |what: String| events.lines().position(|line| line.contains(&what));
    let stopped = at(format!("instance {} has stopped", before[0].0));
    let placed = at(format!("instance {} is placed", after[0].0));
    assert!(stopped.is_some() && stopped < placed, "{events}");

    let bad = web.version("v3").args(&["--no-such-switch"]);
    let told = world.try_apply(&bad).fails(1);
    assert!(told.contains("no-such-switch"), "{told}");
    world.wait_answer("web", "v2");
    let events = world.run(&["events"]).ok();
    assert!(
        events.contains("version 2 of web is started again"),
        "{events}"
    );
}

/// Tells in the volume when it begins and when it has ended.
const WRITER: &str = "echo \"begin $DEMO_VERSION\" >> /data/log; trap 'kill $!' TERM; /hancock demo-app $SWITCHES & wait $!; wait $!; \
                      echo \"end $DEMO_VERSION\" >> /data/log; exit 1";

/// The volume itself says that nobody wrote beside its writer, through an update, a failed one and a kill.
#[test]
fn a_volume_has_a_single_writer() {
    let Some(runtime) = Runtime::Docker.or_skip() else {
        return;
    };
    let world = World::start(runtime);
    let mut web = Spec::web(runtime)
        .replicas(1)
        .command(&["/bin/sh", "-c", WRITER])
        .more("volumes: [{type: volume, source: data, target: /data, exclusive: true}]")
        .more("update: {healthy_deadline: 20s}")
        .more("restart: {attempts: 1, interval: 1m, delay: 100ms, max_delay: 200ms}");
    web.image = runtime.image_with_shell();
    world.apply(&web);
    let spec = world.detail("web").unwrap().spec;
    assert_eq!(spec.update.strategy, Strategy::Recreate);
    world.apply(&web.clone().version("v2"));
    let mut bad = web.clone().version("v3");
    bad.environment
        .push(("SWITCHES".to_owned(), "--no-such-switch".to_owned()));
    let told = world.try_apply(&bad).fails(1);
    assert!(told.contains("no-such-switch"), "{told}");
    world.wait_answer("web", "v2");

    // Two find no place on one node, so the one that runs is left alone.
    let before = world.processes("web", 1);
    let more = "update: {healthy_deadline: 2s, progress_deadline: 3s}";
    let mut two = web.clone().version("v4").replicas(2);
    two.more = two.more.replace("update: {healthy_deadline: 20s}", more);
    let told = world.try_apply(&two).fails(1);
    assert!(told.contains("volume data has a single writer"), "{told}");
    assert_eq!(world.processes("web", 1), before);

    let now = wait_for("the one that is back", SOON, || {
        let now = world.instances("web")?;
        let only = now.first().filter(|i| now.len() == 1 && i.routed);
        only.map(|i| i.id.to_string()).ok_or(format!("{now:?}"))
    });
    let log = world.run(&["exec", &now, "cat", "/data/log"]).ok();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() >= 9 && lines.len() % 2 == 1, "{log}");
    for pair in lines.chunks(2) {
        let version = pair[0].strip_prefix("begin ");
        let ended = pair.get(1).map(|end| end.strip_prefix("end "));
        assert!(version.is_some(), "{log}");
        assert!(ended.is_none_or(|ended| ended == version), "{log}");
    }
    world.run(&["app", "delete", "web", "--wait"]).ok();
}
