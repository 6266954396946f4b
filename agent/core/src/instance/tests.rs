//! The life of one instance, as a table.

#![allow(clippy::unwrap_used)]

use hancock_proto::app::{Limits, Restart};
use hancock_proto::time::Timestamp;

use super::{Deed, Failure, FailureKind, Instance, Next, Phase, Want};
use crate::observed::{Ending, Exit, State};

const NOW: Timestamp = Timestamp(50_000);

fn at(phase: Phase) -> Instance {
    let mut instance = Instance::new(hancock_proto::ids::Version(1), NOW);
    instance.memory.phase = phase;
    instance
}

fn exited() -> State {
    State::Exited(Exit {
        at: NOW,
        how: Ending::Code(1),
        tail: vec!["boom".into()],
    })
}

#[test]
fn what_is_seen_moves_it() {
    let running = || Some(State::Running { since: None });
    let rule = Restart::default();
    let waiting = Phase::Waiting { at: NOW };
    let ordered = Phase::Ordered { at: NOW };
    let later = Phase::Ordered {
        at: Timestamp(NOW.0 + 1),
    };
    let table = [
        ("adopted", waiting, running(), waiting, Phase::Up),
        (
            "started before the daemon ended",
            ordered,
            running(),
            waiting,
            Phase::Up,
        ),
        (
            "ordered, then ended",
            ordered,
            Some(exited()),
            waiting,
            waiting,
        ),
        (
            "ended before the order",
            later,
            Some(exited()),
            waiting,
            waiting,
        ),
        (
            "first end: again at once",
            Phase::Up,
            Some(exited()),
            waiting,
            waiting,
        ),
        (
            "disappeared: again at once",
            Phase::Up,
            None,
            waiting,
            waiting,
        ),
        (
            "stop worked",
            Phase::Stopping,
            Some(exited()),
            waiting,
            waiting,
        ),
        (
            "still stopping",
            Phase::Stopping,
            running(),
            waiting,
            Phase::Stopping,
        ),
        (
            "failed stays failed",
            Phase::Failed,
            running(),
            waiting,
            Phase::Failed,
        ),
    ];
    for (what, from, seen, _, to) in table {
        let mut instance = at(from);
        instance.facts(seen.as_ref(), Want::Run(&rule), NOW);
        assert_eq!(instance.memory.phase, to, "{what}");
    }
    for (from, to) in [
        (Phase::Up, Phase::Stopped),
        (Phase::Stopping, Phase::Stopped),
        (Phase::Failed, Phase::Failed),
    ] {
        let mut instance = at(from);
        instance.facts(Some(&exited()), Want::Stop, NOW);
        assert_eq!(instance.memory.phase, to, "unwanted, from {from:?}");
    }
}

#[test]
fn only_counted_ends_count() {
    let rule = Restart::default();
    let counts = [
        (Phase::Ordered { at: NOW }, 1),
        (
            Phase::Ordered {
                at: Timestamp(NOW.0 + 1),
            },
            0,
        ),
        (Phase::Up, 1),
        (Phase::Stopping, 0),
    ];
    for (from, restarts) in counts {
        let mut instance = at(from);
        instance.facts(Some(&exited()), Want::Run(&rule), NOW);
        assert_eq!(instance.memory.restarts, restarts, "{from:?}");
    }
}

#[test]
fn the_reason_carries_the_last_lines() {
    let mut instance = at(Phase::Up);
    let rule = Restart {
        attempts: 0,
        ..Restart::default()
    };
    instance.facts(Some(&exited()), Want::Run(&rule), NOW);
    assert_eq!(instance.memory.phase, Phase::Failed);
    let reason = instance.memory.reason.unwrap();
    assert_eq!(
        reason,
        "exited with code 1; last output: boom (no restarts allowed)"
    );
}

#[test]
fn what_can_never_work_fails_at_once() {
    let rule = Restart::default();
    let mut instance = at(Phase::Waiting { at: NOW });
    assert_eq!(
        instance.next(None, Want::Run(&rule), NOW),
        Next::Do(Deed::Prepare)
    );
    let failure = Failure {
        kind: FailureKind::Permanent,
        reason: "program \"nope\" is not in PATH".into(),
    };
    instance.done(Deed::Prepare, Err(failure), Want::Run(&rule), NOW);
    assert_eq!(instance.memory.phase, Phase::Failed);
    assert!(instance.memory.reason.unwrap().contains("nope"));
}

#[test]
fn what_this_node_cannot_do_is_rejected() {
    let rule = Restart::default();
    let mut instance = at(Phase::Waiting { at: NOW });
    instance.next(None, Want::Run(&rule), NOW);
    let failure = Failure {
        kind: FailureKind::Elsewhere,
        reason: "another program listens on port 80".into(),
    };
    instance.done(Deed::Prepare, Err(failure), Want::Run(&rule), NOW);
    assert_eq!(instance.memory.phase, Phase::Rejected);
}

#[test]
fn a_clock_set_back_does_not_keep_it_down() {
    let rule = Restart::default();
    let hours = Timestamp(NOW.0 + 3_600_000);
    let mut instance = at(Phase::Waiting { at: hours });
    assert_eq!(
        instance.next(None, Want::Run(&rule), NOW),
        Next::Do(Deed::Prepare)
    );
}

#[test]
fn stopped_while_preparing_is_stopped_now() {
    let rule = Restart::default();
    let mut instance = at(Phase::Waiting { at: NOW });
    instance.next(None, Want::Run(&rule), NOW);
    instance.next(None, Want::Stop, NOW);
    assert_eq!(instance.memory.phase, Phase::Stopped);
    instance.done(Deed::Prepare, Ok(()), Want::Stop, NOW);
    assert_eq!(instance.next(None, Want::Stop, NOW), Next::Nothing);
}

#[test]
fn limits_follow_while_it_runs() {
    let limits = |pids| Limits {
        pids: Some(pids),
        ..Limits::default()
    };
    let (rule, running) = (Restart::default(), Some(State::Running { since: None }));
    let want = Want::Run(&rule);
    let mut instance = at(Phase::Up);
    assert_eq!(instance.next(running.as_ref(), want, NOW), Next::Nothing);
    // One that was adopted, or that an earlier version started: nobody knows what it has.
    instance.wants_limits(limits(1));
    let next = instance.next(running.as_ref(), want, NOW);
    assert_eq!(next, Next::Do(Deed::Limit));
    // What is wanted meanwhile is another change.
    instance.wants_limits(limits(2));
    instance.done(Deed::Limit, Ok(()), want, NOW);
    assert_eq!(instance.memory.limits, Some(limits(1)));
    let next = instance.next(running.as_ref(), want, NOW);
    assert_eq!(next, Next::Do(Deed::Limit));
    instance.done(Deed::Limit, Ok(()), want, NOW);
    instance.wants_limits(limits(2));
    assert_eq!(instance.next(running.as_ref(), want, NOW), Next::Nothing);
}

#[test]
fn limits_that_cannot_be_set_are_told_and_cost_nothing_else() {
    let (rule, running) = (Restart::default(), Some(State::Running { since: None }));
    let want = Want::Run(&rule);
    let mut instance = at(Phase::Up);
    instance.wants_limits(Limits::default());
    let mut now = NOW;
    for _ in 0..3 {
        let next = instance.next(running.as_ref(), want, now);
        assert_eq!(next, Next::Do(Deed::Limit));
        let failure = Failure {
            kind: FailureKind::Temporary,
            reason: "uses more".into(),
        };
        instance.done(Deed::Limit, Err(failure), want, now);
        assert_eq!(instance.memory.reason.as_deref(), Some("uses more"));
        assert_eq!(instance.memory.phase, Phase::Up);
        let Next::Wait(later) = instance.next(running.as_ref(), want, now) else {
            panic!("tried again at once");
        };
        now = later;
    }
    // Still asked politely when it is to end.
    let mut ending = instance.clone();
    let next = ending.next(running.as_ref(), Want::Stop, NOW);
    assert_eq!(next, Next::Do(Deed::Stop));
    // Another wish is tried at once, and its success takes the word back.
    let other = Limits {
        pids: Some(7),
        ..Limits::default()
    };
    instance.wants_limits(other);
    let next = instance.next(running.as_ref(), want, NOW);
    assert_eq!(next, Next::Do(Deed::Limit));
    instance.done(Deed::Limit, Ok(()), want, NOW);
    assert_eq!(
        (instance.memory.reason, instance.memory.limits),
        (None, Some(other))
    );
}
