//! Bad input: every mistake named with its place and the way out, and exit codes that tell the truth.

use hancock_testkit::free_port;

use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::world::World;

/// Refused by a check, as against failed or unreachable.
const REFUSED: i32 = 4;

#[test]
fn a_broken_spec_tells_all_mistakes_with_file_line_and_field() {
    let world = World::at_rest(Runtime::Process);
    let text = "app: web\ncommand: [/bin/true]\nreplica: 3\nresources:\n  memory: lots\n";
    let file = world.write("broken.yaml", text);
    let told = world.run(&["app", "validate", &file]).fails(REFUSED);
    assert!(told.contains("broken.yaml:3"), "{told}");
    assert!(
        told.contains("replica") && told.contains("replicas"),
        "nearest valid name: {told}"
    );
    assert!(
        told.contains("broken.yaml:5") && told.contains("lots"),
        "the second mistake: {told}"
    );
}

#[test]
fn a_feature_of_later_is_refused_not_ignored() {
    let world = World::at_rest(Runtime::Process);
    let spec = Spec::web(Runtime::Process)
        .more("update: {strategy: rolling}")
        .text();
    let file = world.write("later.yaml", &spec);
    let told = world.run(&["app", "validate", &file]).fails(REFUSED);
    assert!(
        told.contains("rolling") && told.contains("not supported yet"),
        "{told}"
    );
}

#[test]
fn a_broken_spec_changes_nothing() {
    let world = World::serving(Runtime::Process);
    let before = world.processes("web", 3);
    let file = world.write(
        "broken.yaml",
        &Spec::web(Runtime::Process).more("colour: blue").text(),
    );
    for deed in ["plan", "apply"] {
        let told = world.run(&["app", deed, &file]).fails(REFUSED);
        assert!(told.contains("colour"), "{told}");
    }
    assert_eq!(world.processes("web", 3), before);
}

#[test]
fn a_host_of_another_app_is_refused() {
    let world = World::serving(Runtime::Process);
    let thief = Spec::web(Runtime::Process)
        .app("thief")
        .text()
        .replace("thief.localhost", "web.localhost");
    let told = world
        .run(&["app", "apply", &world.write("thief.yaml", &thief)])
        .fails(REFUSED);
    assert!(
        told.contains("web.localhost") && told.contains("\"web\"") || told.contains("app web"),
        "{told}"
    );
}

#[test]
fn unknown_apps_and_deployments_are_refused_by_name() {
    let world = World::start(Runtime::Process);
    let commands: [&[&str]; 8] = [
        &["app", "show", "nope"],
        &["app", "history", "nope"],
        &["app", "scale", "nope", "2"],
        &["app", "stop", "nope"],
        &["app", "start", "nope"],
        &["app", "restart", "nope"],
        &["app", "rollback", "nope"],
        &["logs", "nope"],
    ];
    for command in commands {
        let told = world.run(command).fails(REFUSED);
        assert!(told.contains("nope"), "{command:?}: {told}");
    }
    world.run(&["app", "delete", "nope"]).fails(REFUSED);
    let told = world.run(&["deployment", "status", "4711"]).fails(REFUSED);
    assert!(told.contains("4711"), "{told}");
}

#[test]
fn a_master_that_is_not_there_is_named() {
    let world = World::at_rest(Runtime::Process);
    let url = format!("http://127.0.0.1:{}", free_port());
    let told = world.run(&["app", "list", "--master", &url]).fails(3);
    assert!(
        told.contains(&url) && told.contains("HANCOCK_MASTER"),
        "{told}"
    );
}

#[test]
fn an_unknown_command_is_an_error_of_use() {
    let world = World::at_rest(Runtime::Process);
    world.run(&["frobnicate"]).fails(2);
    let help = world.run(&["--help"]).ok();
    for word in ["dev", "app", "ps", "logs", "events", "status"] {
        assert!(help.contains(word), "{help}");
    }
    assert!(!help.contains("demo-app"), "{help}");
}
