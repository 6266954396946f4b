//! Scenarios of the plan.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use hancock_proto::assignment::Desired::{Running, Stopped};
use hancock_proto::report::Life;

use super::Action;
use super::world::{End, World, assigned, assignment, id, observed};
use crate::instance::Deed;
use crate::node::ORPHAN_GRACE;
use crate::observed::{Ending, State};
use crate::throttle::{BURST, PACE};

fn deeds(actions: &[Action]) -> Vec<(String, Deed)> {
    let each = actions.iter();
    each.map(|a| (a.instance().to_string(), a.deed())).collect()
}

fn up(wanted: impl IntoIterator<Item = (u64, hancock_proto::assignment::Desired)>) -> World {
    let mut world = World::assigned(wanted);
    while !world.under_way.is_empty() {
        world.finish(0, End::Done);
        world.plan();
    }
    world
}

fn life(world: &World, n: u64) -> Life {
    world.plan.reports[&id(n)].life
}

#[test]
fn a_new_instance_is_prepared_then_started() {
    let mut world = World::assigned([(1, Running)]);
    assert_eq!(deeds(&world.under_way), [("web-1".into(), Deed::Prepare)]);
    assert_eq!(life(&world, 1), Life::Pulling);
    world.finish(0, End::Done);
    world.plan();
    assert_eq!(deeds(&world.under_way), [("web-1".into(), Deed::Start)]);
    assert_eq!(life(&world, 1), Life::Starting);
    world.finish(0, End::Done);
    assert!(world.plan().is_empty());
    assert_eq!(life(&world, 1), Life::Running);
}

/// A node that comes back with more than it can start at once begins the rest one after the other, and none is forgotten.
#[test]
fn many_starts_take_their_turns() {
    let many = u64::from(BURST) + 20;
    let mut world = World::assigned((1..=many).map(|n| (n, Running)));
    while !world.under_way.is_empty() {
        world.finish(0, End::Done);
    }
    let first = world.plan().len();
    assert_eq!(first, BURST as usize);
    let waiting = world.plan.reports.values();
    let waiting = waiting.filter(|r| r.reason.as_deref().is_some_and(|r| r.contains("its turn")));
    assert_eq!(waiting.count(), 20);
    let begun = world.now;
    loop {
        while !world.under_way.is_empty() {
            world.finish(0, End::Done);
        }
        // A stranger is there from the beginning.
        if world.engine.len() > usize::try_from(many).unwrap() {
            break;
        }
        if world.plan().is_empty() {
            world.now = world.plan.wake_at.unwrap();
        }
    }
    let took = world.now.since(begun);
    assert!(took >= PACE * 19 && took <= PACE * 25, "{took:?}");
}

#[test]
fn the_first_restart_comes_at_once_then_delays_double_until_it_failed() {
    let mut world = up([(1, Running)]);
    for delay in [0, 2, 4] {
        world.exit(&id(1), Ending::Code(3));
        world.list();
        let mut actions = world.plan();
        if delay > 0 {
            assert!(actions.is_empty());
            let wake = world.now + Duration::from_secs(delay);
            assert_eq!(world.plan.wake_at, Some(wake));
            world.now = wake;
            actions = world.plan();
        }
        assert_eq!(deeds(&actions), [("web-1".into(), Deed::Start)]);
        assert_eq!(life(&world, 1), Life::Starting);
        world.finish(0, End::Done);
        world.plan();
    }
    world.exit(&id(1), Ending::Code(3));
    world.list();
    assert!(world.plan().is_empty());
    let report = &world.plan.reports[&id(1)];
    assert_eq!((report.life, report.restarts), (Life::Failed, 3));
    let reason = report.reason.clone().unwrap();
    assert!(
        reason.contains("exited with code 3") && reason.contains("3 restarts within 10m"),
        "{reason}"
    );
}

#[test]
fn attempts_come_back_after_the_interval() {
    let mut world = up([(1, Running)]);
    for _ in 0..20 {
        world.exit(&id(1), Ending::Code(1));
        world.list();
        assert_eq!(deeds(&world.plan()), [("web-1".into(), Deed::Start)]);
        world.finish(0, End::Done);
        world.now = world.now + Duration::from_secs(601);
    }
}

#[test]
fn a_failed_verdict_and_used_attempts_survive_the_daemon() {
    let mut world = up([(1, Running)]);
    for _ in 0..4 {
        world.exit(&id(1), Ending::Code(1));
        world.list();
        world.plan();
        world.now = world.now + Duration::from_secs(5);
        world.plan();
        while !world.under_way.is_empty() {
            world.finish(0, End::Done);
            world.plan();
        }
    }
    assert_eq!(life(&world, 1), Life::Failed);
    world.restart(false);
    world.list();
    assert!(world.plan().is_empty());
    assert_eq!(life(&world, 1), Life::Failed);
}

#[test]
fn what_runs_is_adopted() {
    let mut world = up([(1, Running), (2, Running)]);
    world.restart(false);
    assert!(world.plan().is_empty(), "nothing before the first list");
    world.list();
    assert!(world.plan().is_empty());
    assert_eq!(
        (life(&world, 1), life(&world, 2)),
        (Life::Running, Life::Running)
    );
    assert_eq!(world.plan.reports[&id(1)].restarts, 0);
}

#[test]
fn what_runs_is_adopted_without_any_memory() {
    let mut world = World::new();
    let running = State::Running { since: None };
    world.engine.insert(id(1), observed(&id(1), running));
    world.list();
    assert!(world.plan().is_empty(), "no assignment, no deed");
    world.assign(BTreeMap::from([(id(1), Running)]));
    assert!(world.plan().is_empty(), "the former list passed it over");
    world.list();
    assert_eq!(deeds(&world.plan()), [("web-1".into(), Deed::Limit)]);
    world.finish(0, End::Done);
    assert!(world.plan().is_empty(), "once its limits are known");
    assert_eq!(life(&world, 1), Life::Running);
}

#[test]
fn a_start_that_was_ordered_but_not_done_is_done_after_the_restart() {
    let mut world = World::assigned([(1, Running)]);
    world.finish(0, End::Done);
    world.plan();
    world.restart(false);
    world.list();
    world.plan();
    assert_eq!(world.plan.reports[&id(1)].restarts, 0);
    world.settle();
    assert_eq!(life(&world, 1), Life::Running);
}

#[test]
fn an_old_list_does_not_undo_a_start() {
    let mut world = World::assigned([(1, Running)]);
    world.finish(0, End::Done);
    world.plan();
    world.begin_list();
    world.finish(0, End::Done);
    world.deliver(0);
    assert!(world.plan().is_empty());
    assert_eq!(
        (life(&world, 1), world.plan.reports[&id(1)].restarts),
        (Life::Running, 0)
    );
}

#[test]
fn stop_then_stopped_then_removed_when_no_longer_assigned() {
    let mut world = up([(1, Running)]);
    world.assign(BTreeMap::from([(id(1), Stopped)]));
    assert!(matches!(world.plan()[..], [Action::Stop(..)]));
    assert_eq!(life(&world, 1), Life::Stopping);
    world.finish(0, End::Done);
    assert!(world.plan().is_empty());
    assert_eq!(life(&world, 1), Life::Stopped);
    world.assign(BTreeMap::new());
    assert_eq!(deeds(&world.plan()), [("web-1".into(), Deed::Remove)]);
    world.finish(0, End::Done);
    world.plan();
    assert!(world.plan.reports.is_empty());
}

#[test]
fn what_nobody_knows_is_stopped_its_own_way_and_removed_after_a_while() {
    let mut world = up([(1, Running)]);
    world.assign(BTreeMap::new());
    assert!(world.plan().is_empty(), "never at once");
    let noticed = world.now;
    assert_eq!(world.plan.wake_at, Some(noticed + ORPHAN_GRACE));
    world.now = noticed + ORPHAN_GRACE - Duration::from_millis(1);
    assert!(world.plan().is_empty());
    world.now = noticed + ORPHAN_GRACE;
    let Action::Stop(_, rule) = &world.plan()[0] else {
        panic!("not stopped");
    };
    assert_eq!(rule.signal, "SIGTERM");
    world.settle();
    assert!(world.engine.len() == 1 && world.plan.reports.is_empty());
}

#[test]
fn an_orphan_somebody_claims_in_time_is_kept() {
    let mut world = up([(1, Running)]);
    world.assign(BTreeMap::new());
    world.plan();
    world.now = world.now + ORPHAN_GRACE / 2;
    world.assign(BTreeMap::from([(id(1), Running)]));
    assert!(world.plan().is_empty());
    // Let go of once more, it has the whole time again.
    world.assign(BTreeMap::new());
    assert!(world.plan().is_empty());
    assert_eq!(world.plan.wake_at, Some(world.now + ORPHAN_GRACE));
    assert_eq!(world.plan.reports[&id(1)].restarts, 0);
}

#[test]
fn a_stored_assignment_says_nothing_of_what_it_lacks() {
    let mut world = up([(1, Running)]);
    // As after a journal that was put back to an earlier state, with no master in reach.
    for (n, state) in [(7, State::Running { since: None }), (8, State::Created)] {
        world.engine.insert(id(n), observed(&id(n), state));
    }
    world.restart(false);
    world.list();
    world.plan();
    world.now = world.now + ORPHAN_GRACE * 100;
    assert!(world.plan().is_empty() && world.plan.wake_at.is_none());
    // A master that was heard makes it an orphan, and both go when its time is over.
    world.assign(BTreeMap::from([(id(1), Running)]));
    world.settle();
    assert_eq!(world.running(), [id(1)].into());
    assert_eq!(world.engine.len(), 2, "and the stranger");
}

#[test]
fn a_stop_that_fails_becomes_a_kill_with_growing_pauses() {
    let mut world = up([(1, Running)]);
    world.assign(BTreeMap::from([(id(1), Stopped)]));
    world.plan();
    world.finish(0, End::Failed);
    assert!(
        world.plan().is_empty(),
        "its outcome is open until a list tells"
    );
    world.list();
    assert!(world.plan().is_empty());
    world.now = world.plan.wake_at.unwrap();
    assert_eq!(deeds(&world.plan()), [("web-1".into(), Deed::Kill)]);
}

#[test]
fn an_absent_engine_changes_nothing_and_is_named() {
    let mut world = up([(1, Running), (2, Running)]);
    world.assign(BTreeMap::from([(id(1), Running), (id(2), Stopped)]));
    world.node.unavailable("docker does not answer".into());
    assert!(world.plan().is_empty());
    let report = &world.plan.reports[&id(1)];
    assert_eq!(report.life, Life::Running);
    assert_eq!(report.reason.as_deref(), Some("docker does not answer"));
    world.list();
    assert!(matches!(world.plan()[..], [Action::Stop(..)]));
    assert_eq!(world.plan.reports[&id(1)].reason, None);
}

#[test]
fn an_engine_away_during_a_start_costs_no_attempt() {
    let mut world = World::assigned([(1, Running)]);
    world.finish(0, End::Done);
    world.plan();
    world.finish(0, End::Away);
    world.list();
    world.plan();
    assert_eq!(world.plan.reports[&id(1)].restarts, 0);
    world.settle();
    assert_eq!(world.plan.reports[&id(1)].restarts, 0);
    assert_eq!(life(&world, 1), Life::Running);
}

#[test]
fn parked_instances_come_back_without_a_restart_counted() {
    let mut world = up([(1, Running), (2, Stopped)]);
    world.node.park();
    world.wanted.clear();
    assert!(matches!(world.plan()[..], [Action::Stop(..)]));
    world.finish(0, End::Done);
    assert!(world.plan().is_empty() && world.node.is_parked());
    world.wanted = BTreeMap::from([(id(1), Running), (id(2), Stopped)]);
    world.restart(false);
    world.list();
    assert_eq!(deeds(&world.plan()), [("web-1".into(), Deed::Prepare)]);
    world.settle();
    assert_eq!(
        (life(&world, 1), life(&world, 2)),
        (Life::Running, Life::Stopped)
    );
    assert_eq!(world.plan.reports[&id(1)].restarts, 0);
}

#[test]
fn two_claims_on_one_port_are_told_apart() {
    let mut world = World::new();
    let same = [
        (id(1), assigned(20_000, Running)),
        (id(2), assigned(20_000, Running)),
    ];
    world.node.assign(assignment(same.into()));
    world.wanted = BTreeMap::from([(id(1), Running), (id(2), Running)]);
    world.list();
    world.plan();
    world.settle();
    assert_eq!(
        (life(&world, 1), life(&world, 2)),
        (Life::Running, Life::Rejected)
    );
    let reason = world.plan.reports[&id(2)].reason.clone().unwrap();
    assert!(
        reason.contains("20000") && reason.contains("web-1"),
        "{reason}"
    );
}

/// Once for each wish, counted like a restart of its own; what the daemon knew of wishes survives it.
#[test]
fn one_asked_to_restart_does_so_once() {
    let mut world = up([(1, Running)]);
    let ask = |world: &mut World, wishes: u32| {
        let mut one = assigned(20_000, Running);
        one.restarts_asked = wishes;
        world.node.assign(assignment([(id(1), one)].into()));
    };
    let come_up = |world: &mut World| {
        for _ in 0..20 {
            while !world.under_way.is_empty() {
                world.finish(0, End::Done);
            }
            world.list();
            world.plan();
            world.now = world.now + Duration::from_secs(1);
        }
    };
    for wishes in 1..=3 {
        ask(&mut world, wishes);
        assert_eq!(deeds(&world.plan()), [("web-1".into(), Deed::Stop)]);
        assert_eq!(life(&world, 1), Life::Starting);
        come_up(&mut world);
        assert_eq!(life(&world, 1), Life::Running);
        assert_eq!(world.plan.reports[&id(1)].restarts, wishes);
        world.restart(false);
        world.list();
        assert!(world.plan().is_empty(), "the wish was taken before");
        ask(&mut world, wishes);
        assert!(world.plan().is_empty());
    }
    // Used up: another node may do better.
    ask(&mut world, 4);
    world.plan();
    come_up(&mut world);
    assert_eq!(life(&world, 1), Life::Failed);
}

/// A single writer: it may be replaced elsewhere, so it ends without contact and comes back with it, uncounted.
#[test]
fn one_that_must_not_run_twice_stops_without_contact() {
    let mut world = World::new();
    let hear = |world: &mut World| {
        let mut one = assigned(20_000, Running);
        one.stop_after = Some(hancock_proto::units::Span::seconds(30));
        world.node.assign(assignment([(id(1), one)].into()));
        world.node.in_contact(world.now);
    };
    hear(&mut world);
    world.list();
    world.wanted = BTreeMap::from([(id(1), Running)]);
    world.plan();
    for _ in 0..2 {
        world.finish(0, End::Done);
        world.plan();
    }
    assert_eq!(life(&world, 1), Life::Running);
    let silence = world.now + Duration::from_secs(30);
    assert_eq!(world.plan.wake_at, Some(silence));
    world.now = silence - Duration::from_millis(1);
    assert!(world.plan().is_empty());
    // From here on it is not wanted.
    world.wanted.clear();
    world.now = silence;
    assert_eq!(deeds(&world.plan()), [("web-1".into(), Deed::Stop)]);
    world.finish(0, End::Done);
    assert!(world.plan().is_empty());
    // Nor is it started by a daemon that has not heard a master yet, whatever the journal says of last time.
    let heard = world.node.contact_to_store(None);
    world.restart(false);
    world.node = world.node.clone().heard_last(heard);
    world.list();
    assert!(world.plan().is_empty());
    world.wanted = BTreeMap::from([(id(1), Running)]);
    hear(&mut world);
    assert_eq!(deeds(&world.plan()), [("web-1".into(), Deed::Prepare)]);
    world.finish(0, End::Done);
    world.plan();
    world.finish(0, End::Done);
    world.plan();
    let report = &world.plan.reports[&id(1)];
    assert_eq!((report.life, report.restarts), (Life::Running, 0));
}

#[test]
fn what_is_stored_of_the_contact_is_never_newer() {
    let mut world = World::new();
    assert_eq!(world.node.contact_to_store(None), None);
    let mut one = assigned(20_000, Running);
    one.stop_after = Some(hancock_proto::units::Span::seconds(40));
    world.node.assign(assignment([(id(1), one)].into()));
    let begun = world.now;
    world.node.in_contact(begun);
    assert_eq!(world.node.contact_to_store(None), Some(begun));
    world.node.in_contact(begun + Duration::from_secs(9));
    assert_eq!(world.node.contact_to_store(Some(begun)), Some(begun));
    let later = begun + Duration::from_secs(10);
    world.node.in_contact(later);
    assert_eq!(world.node.contact_to_store(Some(begun)), Some(later));
}

#[test]
fn a_full_disk_refuses_what_is_new_and_keeps_what_is_there() {
    let mut world = up([(1, Running)]);
    world.node.disk(Some("disk full: 97 % are used".into()));
    world.assign(BTreeMap::from([(id(1), Running), (id(2), Running)]));
    assert!(world.plan().is_empty());
    assert_eq!(
        (life(&world, 1), life(&world, 2)),
        (Life::Running, Life::Rejected)
    );
    let reason = world.plan.reports[&id(2)].reason.clone();
    assert_eq!(reason.as_deref(), Some("disk full: 97 % are used"));
    // One that falls comes back, also after the daemon began anew.
    world.exit(&id(1), Ending::Code(1));
    world.restart(false);
    world.node.disk(Some("disk full: 97 % are used".into()));
    world.list();
    world.plan();
    world.settle();
    assert_eq!(life(&world, 1), Life::Running);
}

#[test]
fn an_unknown_placeholder_is_rejected_with_its_name() {
    let mut world = World::new();
    let mut wrong = assigned(20_000, Running);
    wrong.run.command = vec!["{{ port.nope }}".into()];
    world.node.assign(assignment([(id(1), wrong)].into()));
    world.wanted = BTreeMap::from([(id(1), Running)]);
    world.list();
    assert!(world.plan().is_empty());
    let report = &world.plan.reports[&id(1)];
    assert_eq!(report.life, Life::Rejected);
    assert!(report.reason.as_ref().unwrap().contains("port.nope"));
}

#[test]
fn only_exits_that_will_not_be_answered_at_once_want_their_last_lines() {
    let mut world = up([(1, Running)]);
    world.exit(&id(1), Ending::Code(1));
    let list: Vec<_> = world.engine.values().cloned().collect();
    assert!(world.node.wants_tail(&list, world.now).is_empty());
    world.list();
    world.plan();
    world.finish(0, End::Done);
    world.plan();
    world.exit(&id(1), Ending::Code(1));
    let list: Vec<_> = world.engine.values().cloned().collect();
    assert_eq!(world.node.wants_tail(&list, world.now), [id(1)]);
}

#[test]
fn one_that_ends_while_it_starts_is_judged_with_its_last_lines() {
    let mut world = up([(1, Running)]);
    world.exit(&id(1), Ending::Code(1));
    world.list();
    world.plan();
    let again = world.under_way.remove(0);
    let mut seen = world.carry_out(&again).unwrap();
    world.exit(&id(1), Ending::Code(1));
    seen.state = world.engine[&id(1)].state.clone();
    world
        .node
        .done(&id(1), Deed::Start, Ok(Some(seen)), world.now);
    assert!(world.plan().is_empty() && world.node.needs_list());
    let list: Vec<_> = world.engine.values().cloned().collect();
    assert_eq!(world.node.wants_tail(&list, world.now), [id(1)]);
}

/// The former one has ended by its own account only when a list says so, and its node's word is what counts.
#[test]
fn a_single_writer_starts_when_the_one_before_is_seen_stopped() {
    let mut world = World::new();
    world.single = true;
    world.assign([(id(1), Running)].into());
    world.settle();
    world.assign([(id(1), Stopped), (id(2), Running)].into());
    let waits = |world: &World| {
        let report = &world.plan.reports[&id(2)];
        let reason = report.reason.clone().unwrap_or_default();
        (report.life, reason)
    };
    world.plan();
    let mut prepared = world.under_way.iter();
    let prepared = prepared.position(|a| a.deed() == Deed::Prepare).unwrap();
    world.finish(prepared, End::Done);
    world.now = world.now + Duration::from_secs(1);
    assert!(world.plan().is_empty());
    let told = "waits for volume data, which web-1 may still write to";
    assert_eq!(waits(&world).1, told);
    // The stop of the first one ends with an error: nobody knows whether it runs.
    world.finish(0, End::DoneButLate);
    world.now = world.now + Duration::from_secs(1);
    assert!(world.plan().iter().all(|a| a.deed() != Deed::Start));
    world.settle();
    assert_eq!(world.running(), [id(2)].into());
    assert_eq!(waits(&world), (Life::Running, String::new()));
}

/// A master that was put back to an earlier state does not know the one that runs; the node does.
#[test]
fn a_single_writer_waits_for_one_of_its_app_that_nobody_knows() {
    let mut world = World::new();
    world.single = true;
    world.assign([(id(1), Running)].into());
    world.settle();
    world.assign([(id(2), Running)].into());
    for _ in 0..30 {
        while !world.under_way.is_empty() {
            world.finish(0, End::Done);
        }
        world.list();
        world.plan();
        world.now = world.now + Duration::from_secs(1);
    }
    assert_eq!(world.running(), [id(1)].into());
    world.settle();
    assert_eq!(world.running(), [id(2)].into());
}
