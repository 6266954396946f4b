//! How many keys move when a server goes or comes: its own share, and at most one in a hundred more.

use hancock_balancer_core::maglev::{Maglev, SLOTS};

use crate::world::Dice;

const KEYS: u64 = 40_000;

fn table(servers: &[(String, f64)]) -> Maglev {
    Maglev::new(
        servers
            .iter()
            .map(|(name, weight)| (name.as_str(), *weight)),
    )
}

fn servers(weights: impl IntoIterator<Item = f64>) -> Vec<(String, f64)> {
    let named = |(at, weight)| (format!("10.0.{}.{}:8080", at / 200, at % 200), weight);
    weights.into_iter().enumerate().map(named).collect()
}

/// The part of all keys that have another server with `one` than with `other`.
fn moved(one: &[(String, f64)], other: &[(String, f64)]) -> f64 {
    let (left, right) = (table(one), table(other));
    let mut dice = Dice(1);
    let moved = (0..KEYS).filter(|_| {
        let key = dice.next();
        let name = |table: &Maglev, list: &[(String, f64)]| {
            table.find(key, |_| true).map(|at| list[at].0.clone())
        };
        name(&left, one) != name(&right, other)
    });
    moved.count() as f64 / KEYS as f64
}

/// Takes out each of `which`, and reads it the other way round as a server that comes.
fn check(all: &[(String, f64)], which: impl IntoIterator<Item = usize>) {
    let total: f64 = all.iter().map(|(_, weight)| weight).sum();
    for gone in which {
        let mut left = all.to_vec();
        let (name, weight) = left.remove(gone);
        let (share, moved) = (weight / total, moved(all, &left));
        assert!(
            moved <= share + 0.01,
            "{} servers, {name} of weight {weight} gone: {moved:.4} moved, its share is {share:.4}",
            all.len()
        );
    }
}

#[test]
fn one_of_many_equals_moves_hardly_more_than_its_own_keys() {
    for count in [2, 3, 5, 10, 50, 250] {
        let step = (count / 2).max(1);
        check(&servers(vec![1.0; count]), (0..count).step_by(step));
    }
}

#[test]
fn weights_change_nothing_about_it() {
    check(&servers([5.0, 1.0, 1.0]), 0..3);
    check(&servers([1.0, 2.0, 4.0, 8.0]), 0..4);
    check(&servers((0..10).map(|at| f64::from(at % 3 + 1))), 0..3);
    check(
        &servers((0..50).map(|at| f64::from(at % 7 + 1))),
        (0..50).step_by(9),
    );
}

#[test]
fn keys_follow_weights() {
    let all = servers([5.0, 3.0, 1.0, 0.5, 0.5]);
    let table = table(&all);
    for (at, (_, weight)) in all.iter().enumerate() {
        let share = f64::from(table.held(at)) / SLOTS as f64;
        assert!((share - weight / 10.0).abs() < 0.001, "{at}: {share}");
    }
}

/// A server that is out for a while takes nobody else's keys with it, and its own go to all others.
#[test]
fn an_outage_moves_only_the_keys_of_who_is_out() {
    let table = table(&servers([1.0; 10]));
    let (mut dice, mut refuge) = (Dice(2), [0u32; 10]);
    for _ in 0..KEYS {
        let key = dice.next();
        let home = table.find(key, |_| true).expect("all are up");
        let then = table.find(key, |server| server != 3).expect("nine are up");
        match home {
            3 => refuge[then] += 1,
            _ => assert_eq!(home, then),
        }
    }
    let fair = f64::from(refuge.iter().sum::<u32>()) / 9.0;
    for (at, got) in refuge.iter().enumerate().filter(|(at, _)| *at != 3) {
        let off = f64::from(*got) / fair;
        assert!(
            (0.7..1.3).contains(&off),
            "server {at} took {off:.2} of a fair part"
        );
    }
}
