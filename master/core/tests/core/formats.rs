//! How a cluster gets to the next format, and what is written until then.

use std::collections::BTreeMap;

use hancock_master_core::command::{Command, Reply};
use hancock_master_core::{Format, LeaderView, State, plan};
use hancock_proto::ids::{LogIndex, Term};
use hancock_proto::time::Timestamp;
use serde_json::Value;

use crate::world::World;

const AT: Timestamp = Timestamp(7);

fn agree(format: u32) -> Command {
    let format = Format(format);
    Command::AgreeFormat { format, at: AT }
}

/// A cluster that has agreed on a format.
fn agreed(format: u32) -> State {
    let mut state = World::new().state;
    state.format = Format(format);
    state
}

fn apply(state: &mut State, command: &Command) -> Reply {
    let index = LogIndex(state.applied.0 + 1);
    state.apply(index, Term(1), command)
}

#[test]
fn only_the_next_format_is_agreed_on() {
    let cases = [
        (1, 2, true),
        (1, 1, false),
        (1, 0, false),
        (1, 3, false),
        (2, 1, false),
        (2, 2, false),
        (2, 3, true),
        (7, 2, false),
        (u32::MAX, u32::MAX, false),
    ];
    for (before, wanted, accepted) in cases {
        let mut state = agreed(before);
        let mut twin = state.clone();
        let reply = apply(&mut state, &agree(wanted));
        assert_eq!(apply(&mut twin, &agree(wanted)), reply);
        assert!(twin == state, "the same everywhere");
        let now = if accepted { wanted } else { before };
        assert_eq!(state.format, Format(now), "{before} to {wanted}");
        match reply {
            Reply::Done => assert!(accepted),
            Reply::Refused(error) => {
                assert!(!accepted && error.code == "outdated", "{error:?}");
            }
            other => panic!("{other:?}"),
        }
        let told = state.events.iter().filter(|e| e.kind == "format_agreed");
        assert_eq!(told.count(), usize::from(accepted));
    }
    let mut state = State::new();
    let unbegun = apply(&mut state, &agree(2));
    assert!(matches!(unbegun, Reply::Refused(_)) && state.format == Format::FIRST);
}

#[test]
fn a_leader_proposes_what_every_master_knows() {
    let cases: [(u32, &[u32], Option<u32>); 7] = [
        (1, &[], None),
        (1, &[1, 1, 1], None),
        (1, &[2, 1, 2], None),
        (1, &[2, 2, 2], Some(2)),
        (1, &[3, 2, 4], Some(2)),
        (2, &[2, 2, 2], None),
        (2, &[3, 3, 4], Some(3)),
    ];
    for (before, knows, proposed) in cases {
        let state = agreed(before);
        let mut view = LeaderView::new(state.term, AT);
        let names = (1..).map(|n| format!("m{n}"));
        let masters: BTreeMap<_, _> = names.zip(knows.iter().copied().map(Format)).collect();
        view.masters_know(masters);
        let plan = plan(&state, &view, AT, 0);
        let wanted: Vec<Command> = proposed.map(agree).into_iter().collect();
        assert_eq!(plan.commands, wanted, "{before}: {knows:?}");
    }
}

#[test]
fn commands_are_written_as_agreed_and_the_next_format_begins_with_its_own() {
    let other = Command::AskMaster {
        deed: hancock_master_core::MasterDeed::Lead,
        name: "m1".into(),
        at: AT,
    };
    for (command, agreed, written) in [(&other, 1, 1), (&other, 2, 2), (&agree(2), 1, 2)] {
        assert_eq!(command.written_in(Format(agreed)), Format(written));
    }
}

/// What versions without formats to agree on have written, and read.
#[test]
fn the_first_format_is_written_as_ever() {
    let mut world = World::new();
    world.join("n1");
    let bytes = world.state.encode();
    assert!(bytes.starts_with(br#"{"format":1,"state":{"cluster":"#));
    let read: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(read.as_object().unwrap().len(), 2);
    assert!(read["state"]["format"].is_null(), "stored once");
    let range = br#""ports":{"first":20000,"last":20099},"#;
    assert!(bytes.windows(range.len()).any(|part| part == range));
    assert!(State::decode(br#"{"format":0,"state":{}}"#).is_err());
}

#[test]
fn the_format_is_told_without_reading_the_state() {
    let cases: [(&[u8], u32); 6] = [
        (br#"{"format":1,"state":"#, 1),
        (br#"{"format":12,"anything"#, 12),
        (br#"{"format":99999999999"#, u32::MAX),
        (br#"{"format":"#, 1),
        (b"", 1),
        (b"{}", 1),
    ];
    for (bytes, format) in cases {
        assert_eq!(State::format_of(bytes), Format(format));
    }
    for format in 1..=Format::NEWEST.0 {
        let bytes = agreed(format).encode();
        assert_eq!(State::format_of(&bytes), Format(format));
    }
}

/// The rehearsal is a real change: who judged bytes of format 2 by something else than their number could not read them.
#[cfg(feature = "next-format")]
#[test]
fn the_next_format_cannot_be_read_as_the_first() {
    let bytes = String::from_utf8(agreed(2).encode()).unwrap();
    assert!(State::decode(bytes.as_bytes()).unwrap() == agreed(2));
    let renumbered = bytes.replacen("\"format\":2", "\"format\":1", 1);
    let error = State::decode(renumbered.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("state"), "{error}");
}
