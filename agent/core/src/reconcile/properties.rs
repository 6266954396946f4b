//! Whatever the order of events: never started twice, never stopped while wanted, and in the end everything is as wanted.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use hancock_proto::assignment::Desired;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::Life;
use proptest::prelude::*;
use std::time::Duration;

use super::world::{End, World, id};
use crate::observed::Ending;

#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Want(Vec<Option<bool>>),
    BeginList,
    Deliver(usize),
    Finish(usize, End),
    Exit(u64),
    Away,
    Restart(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let end = prop_oneof![
        4 => Just(End::Done),
        1 => Just(End::Failed),
        1 => Just(End::DoneButLate),
        1 => Just(End::Away),
    ];
    prop_oneof![
        3 => (0..5_000u64).prop_map(Event::Pass),
        1 => prop::collection::vec(prop::option::weighted(0.8, prop::bool::weighted(0.8)), 4)
            .prop_map(Event::Want),
        3 => Just(Event::BeginList),
        4 => (0..4usize).prop_map(Event::Deliver),
        6 => (0..4usize, end).prop_map(|(n, e)| Event::Finish(n, e)),
        2 => (1..5u64).prop_map(Event::Exit),
        1 => Just(Event::Away),
        1 => any::<bool>().prop_map(Event::Restart),
    ]
}

/// As masters do it: from running to stopped to gone, never back.
fn next_wish(
    before: &BTreeMap<InstanceId, Desired>,
    gone: &mut Vec<InstanceId>,
    wish: &[Option<bool>],
) -> BTreeMap<InstanceId, Desired> {
    let mut wanted = BTreeMap::new();
    for (n, wish) in (1..).zip(wish) {
        let id = id(n);
        match wish {
            None if before.contains_key(&id) => gone.push(id),
            None => {}
            Some(_) if gone.contains(&id) => {}
            Some(run) => {
                let stopped = before.get(&id) == Some(&Desired::Stopped) || !run;
                let desired = match stopped {
                    true => Desired::Stopped,
                    false => Desired::Running,
                };
                wanted.insert(id, desired);
            }
        }
    }
    wanted
}

fn apply(world: &mut World, gone: &mut Vec<InstanceId>, event: Event) {
    match event {
        Event::Pass(ms) => world.now = world.now + Duration::from_millis(ms),
        Event::Want(wish) => {
            let wanted = next_wish(&world.wanted, gone, &wish);
            // A deed already ordered for what is no longer wanted is none of the plan's faults.
            world.assign(wanted);
        }
        Event::BeginList if world.lists.len() < 4 => world.begin_list(),
        Event::Deliver(n) if n < world.lists.len() => world.deliver(n),
        Event::Finish(n, end) if n < world.under_way.len() => world.finish(n, end),
        Event::Exit(n) => world.exit(&id(n), Ending::Code(1)),
        Event::Away => world.node.unavailable("the engine is away".into()),
        Event::Restart(done) => world.restart(done),
        Event::BeginList | Event::Deliver(_) | Event::Finish(..) => {}
    }
}

/// Plays them until nothing more comes of them.
fn play(world: &mut World, events: Vec<Event>) {
    let mut gone = Vec::new();
    for event in events {
        apply(world, &mut gone, event);
        // World::plan checks every action.
        world.plan();
    }
    // A master is heard again, and says the same.
    if world.node.assignment().is_some() {
        world.assign(world.wanted.clone());
    }
    world.settle();
}

proptest! {
    #[test]
    fn any_order_of_events_is_survived(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        play(&mut world, events);
        let running = world.running();
        for (id, desired) in &world.wanted {
            let life = world.plan.reports[id].life;
            match desired {
                Desired::Running => prop_assert!(
                    (life == Life::Running && running.contains(id)) || life == Life::Failed,
                    "{id} is {life}"
                ),
                Desired::Stopped => prop_assert!(life.is_over() && !running.contains(id)),
            }
        }
        let known = world.wanted.keys().collect::<Vec<_>>();
        let left = world.engine.keys().filter(|i| **i != id(999) && !known.contains(i)).count();
        // Without any assignment nothing is touched.
        prop_assert!(left == 0 || world.node.assignment().is_none(), "leftovers");
    }

    #[test]
    fn of_several_writers_one_runs_at_a_time(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        world.single = true;
        play(&mut world, events);
        let wanted = world.wanted.iter().filter(|(_, d)| **d == Desired::Running);
        let alive = wanted.filter(|(id, _)| !world.plan.reports[*id].life.is_over()).count();
        prop_assert_eq!(world.running().len(), alive.min(1));
    }

    #[test]
    fn without_an_assignment_nothing_is_done(exits in prop::collection::vec(any::<bool>(), 1..20)) {
        let mut world = World::new();
        for n in 1..5 {
            let running = crate::observed::State::Running { since: None };
            world.engine.insert(id(n), super::world::observed(&id(n), running));
        }
        for exit in exits {
            if exit { world.exit(&id(1), Ending::Code(0)); }
            world.list();
            prop_assert!(world.plan().is_empty());
        }
    }
}
