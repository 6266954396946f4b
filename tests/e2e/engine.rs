//! A Docker engine that goes away and comes back.

mod faults;

use std::time::Duration;

use hancock_testkit::relay::Relay;
use hancock_testkit::{docker, fixture, skip, wait, wait_for};

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

/// The image comes from a registry, as it does on an edge machine; a tag that is not there is told with the image's name.
#[test]
fn an_image_is_pulled_from_a_registry() {
    let Some(runtime) = Runtime::Docker.or_skip() else {
        return;
    };
    if let Some(reason) = fixture::missing("docker-registry") {
        return skip::skip(&skip::test_name(), &reason);
    }
    let registry = fixture::image_registry();
    let remote = format!("{}/web:1", registry.address);
    let local = runtime.image().unwrap();
    docker::run(&["tag", local, &remote]).unwrap();
    docker::run(&["push", &remote]).unwrap();
    docker::run(&["image", "rm", &remote]).unwrap();

    let world = World::start(runtime);
    let mut spec = Spec::web(runtime);
    spec.image = Some(remote.clone());
    world.apply(&spec);
    world.wait_answer("web", "v1");

    let absent = format!("{}/web:none", registry.address);
    spec.image = Some(absent.clone());
    let told = world.try_apply(&spec.version("v2")).fails(1);
    assert!(told.contains(&absent), "{told}");
    world.wait_answer("web", "v1");
    world.run(&["app", "delete", "web", "--wait"]).ok();
    docker::run(&["image", "rm", &remote]).unwrap();
}

/// The tag moves between the pulls of two instances: both run what it stood for at first. A new version asks anew.
#[test]
fn a_version_runs_one_image_however_its_tag_moves() {
    let Some(runtime) = Runtime::Docker.or_skip() else {
        return;
    };
    if let Some(reason) = fixture::missing("docker-registry") {
        return skip::skip(&skip::test_name(), &reason);
    }
    let registry = fixture::image_registry();
    let tag = format!("{}/moving:1", registry.address);
    let push = |bits: &str| {
        let local = runtime.image_with_shell().unwrap();
        docker::derive(&local, &format!("ENV BITS={bits}"), &tag).unwrap();
        docker::run(&["push", &tag]).unwrap();
    };
    let world = World::start(runtime);
    let mut spec = Spec::web(runtime).replicas(1).more("pull_policy: always");
    spec.image = Some(tag.clone());
    push("a");
    world.apply(&spec);
    let bits = |count: usize| {
        let all = world.wait_serving("web", count);
        let of = |id: &str| {
            world
                .run(&["exec", id, "--", "/bin/sh", "-c", "echo $BITS"])
                .ok()
        };
        all.iter()
            .map(|i| of(&i.id.to_string()))
            .collect::<String>()
    };
    assert_eq!(bits(1), "a\n");
    push("b");
    world.run(&["app", "scale", "web", "3", "--wait"]).ok();
    assert_eq!(bits(3), "a\na\na\n");
    let digest = world.detail("web").unwrap().image_digest.expect("a digest");
    let shown = world.run(&["app", "show", "web"]).ok();
    assert!(shown.contains(&digest), "{shown}");
    world.apply(&spec.clone().version("v2"));
    world.wait_answer("web", "v2");
    assert_eq!(bits(1), "b\n");
    world.run(&["app", "delete", "web", "--wait"]).ok();
    docker::run(&["image", "rm", "--force", &tag]).unwrap();
}

/// An operator has an image fetched before it is needed, and sees what is there and who uses it.
#[test]
fn images_are_fetched_beforehand_and_listed() {
    let Some(runtime) = Runtime::Docker.or_skip() else {
        return;
    };
    if let Some(reason) = fixture::missing("docker-registry") {
        return skip::skip(&skip::test_name(), &reason);
    }
    let registry = fixture::image_registry();
    let remote = format!("{}/early:1", registry.address);
    docker::run(&["tag", runtime.image().unwrap(), &remote]).unwrap();
    docker::run(&["push", &remote]).unwrap();
    docker::run(&["image", "rm", &remote]).unwrap();

    let world = World::start(runtime);
    let line = |text: &str| {
        let found = text.lines().find(|line| line.contains(&remote));
        found.map(str::to_owned)
    };
    assert_eq!(line(&world.run(&["image", "list"]).ok()), None);
    let done = world.run(&["image", "pull", &remote]).ok();
    assert!(
        line(&done).is_some_and(|l| l.contains(&world.node) && l.contains("sha256:")),
        "{done}"
    );
    docker::run(&["image", "inspect", &remote]).unwrap();
    let listed = line(&world.run(&["image", "list"]).ok()).expect("the image");
    assert!(!listed.contains("web 1"), "{listed}");
    let mut spec = Spec::web(runtime).more("pull_policy: never");
    spec.image = Some(remote.clone());
    world.apply(&spec);
    let listed = world.run(&["image", "list", &world.node]).ok();
    assert!(
        line(&listed).is_some_and(|l| l.ends_with("web 1")),
        "{listed}"
    );

    let absent = format!("{}/early:none", registry.address);
    let told = world.run(&["image", "pull", &absent]).fails(1);
    assert!(told.contains("failed") && told.contains(&absent), "{told}");
    let nobody = world.run(&["image", "list", "nobody"]).fails(4);
    assert!(nobody.contains("no node nobody"), "{nobody}");
    let json = world
        .run(&[
            "image",
            "pull",
            &remote,
            "--node",
            &world.node,
            "--output",
            "json",
        ])
        .ok();
    let went: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&went[0]["node"], &went[0]["state"]),
        (&world.node.as_str().into(), &"done".into()),
        "{went}"
    );
    world.run(&["app", "delete", "web", "--wait"]).ok();
    docker::run(&["image", "rm", &remote]).unwrap();
}

#[test]
fn nodes_without_images_have_none_to_list() {
    let world = World::start(Runtime::Process);
    for words in [&["image", "list"][..], &["image", "pull", "web:1"]] {
        let told = world.run(words).fails(1);
        assert!(told.contains("runs containers"), "{told}");
    }
    let named = world.run(&["image", "list", &world.node]).fails(4);
    assert!(named.contains("plain processes"), "{named}");
}
