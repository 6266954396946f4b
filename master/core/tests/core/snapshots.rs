//! A state survives being written and read, and goes on the same.

use std::time::Duration;

use hancock_master_core::{Format, SnapshotError, State};

use crate::script::spec;
use crate::world::World;

fn busy() -> World {
    let mut world = World::new();
    world.join("n1");
    world.join("n2");
    world.apply_spec(spec("web", &["replicas=2"]));
    world.run(Duration::from_secs(5));
    world.apply_spec(spec("web", &["replicas=2", "cmd=v2"]));
    world.run(Duration::from_millis(2500));
    world
}

#[test]
fn a_state_reads_back_the_same() {
    let mut world = busy();
    let read = State::decode(&world.state.encode()).unwrap();
    assert!(read == world.state);
    world.state = read;
    world.run(Duration::from_secs(20));
    let open = world
        .state
        .deployments
        .values()
        .filter(|d| !d.phase.is_over());
    assert_eq!(open.count(), 0);
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    let error = State::decode(br#"{"format":99,"state":{"new":true}}"#).unwrap_err();
    assert!(matches!(error, SnapshotError::Newer { found: Format(99) }));
    assert!(error.to_string().contains("format 99"), "{error}");
}

#[test]
fn torn_bytes_are_refused() {
    let bytes = busy().state.encode();
    let error = State::decode(&bytes[..bytes.len() / 2]).unwrap_err();
    assert!(matches!(error, SnapshotError::Broken(_)));
}
