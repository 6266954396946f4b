#![allow(clippy::unwrap_used)]

use proptest::prelude::{any, prop, prop_oneof};
use proptest::strategy::{Just, Strategy};

use super::*;

fn masters(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn elsewhere(leader: &str) -> Outcome {
    Outcome::Elsewhere {
        leader: leader.to_owned(),
    }
}

/// Random numbers in the middle of their range.
const MIDDLE: u64 = 512 << 32;

#[test]
fn a_named_leader_is_asked_at_once() {
    let mut search = Search::new(masters(&["a", "b", "c"]), Vec::new());
    assert_eq!(search.next(0).at, "a");
    search.ended(elsewhere("c"));
    let next = search.next(0);
    assert_eq!((next.at.as_str(), next.wait), ("c", Duration::ZERO));
    search.ended(Outcome::Led);
    search.ended(Outcome::Lost);
    // The lost leader is not the first one to ask again.
    assert_eq!(search.next(0).at, "a");
}

#[test]
fn a_leader_nobody_configured_is_followed_too() {
    let mut search = Search::new(masters(&["a"]), Vec::new());
    search.next(0);
    search.ended(elsewhere("new"));
    assert_eq!(search.next(0).at, "new");
    search.ended(Outcome::Lost);
    assert_eq!(search.next(0).at, "a");
}

#[test]
fn masters_that_name_each_other_are_not_asked_in_circles() {
    let mut search = Search::new(masters(&["a", "b"]), Vec::new());
    let mut waited = 0;
    for _ in 0..40 {
        let next = search.next(MIDDLE);
        waited += u32::from(!next.wait.is_zero());
        let other = if next.at == "a" { "b" } else { "a" };
        search.ended(elsewhere(other));
    }
    assert_eq!(waited, 9, "one pause after every three that were named");
}

#[test]
fn who_names_itself_does_not_lead() {
    let mut search = Search::new(masters(&["a"]), Vec::new());
    search.next(0);
    search.ended(elsewhere("a"));
    assert!(search.next(MIDDLE).wait > Duration::ZERO);
}

#[test]
fn pauses_grow_to_a_second_and_begin_anew_after_a_leader() {
    let mut search = Search::new(masters(&["a", "b", "c"]), Vec::new());
    let mut tries = Vec::new();
    for _ in 0..8 {
        let next = search.next(u64::MAX);
        tries.push((next.at, next.wait.as_millis().div_ceil(50) * 50));
        search.ended(Outcome::Lost);
    }
    let waits: Vec<u128> = tries.iter().map(|(_, wait)| *wait).collect();
    assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1000, 1000]);
    assert_ne!(tries[0].0, tries[1].0);
    assert_eq!(tries[0].0, tries[3].0, "all in turn");
    search.ended(Outcome::Led);
    assert_eq!(search.next(MIDDLE).wait, Duration::ZERO);
}

#[test]
fn a_refusal_is_not_repeated_in_haste() {
    let mut search = Search::new(masters(&["a"]), Vec::new());
    search.next(0);
    search.ended(Outcome::Refused);
    assert!(search.next(0).wait >= LONGEST_PAUSE / 2);
}

#[test]
fn what_was_learnt_is_asked_and_news_are_told() {
    let mut search = Search::new(masters(&["a"]), masters(&["b"]));
    assert!(!search.learn(masters(&["b"])));
    assert!(!search.learn(Vec::new()), "nobody is no news");
    assert!(search.learn(masters(&["b", "c", ""])));
    assert_eq!(search.learnt(), ["b", "c"]);
    let mut asked: Vec<String> = (0..3)
        .map(|_| {
            let at = search.next(0).at;
            search.ended(Outcome::Lost);
            at
        })
        .collect();
    asked.sort();
    assert_eq!(asked, ["a", "b", "c"]);
}

#[test]
fn many_nodes_begin_at_different_masters_and_times() {
    let first = |random| Search::new(masters(&["a", "b", "c"]), Vec::new()).next(random);
    assert_ne!(first(0).at, first(1).at);
    assert_ne!(pause(5, 0), pause(5, MIDDLE));
    assert_eq!(Search::default().next(7).at, "");
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Led),
        Just(Outcome::Lost),
        Just(Outcome::Refused),
        "[a-e]".prop_map(|leader| Outcome::Elsewhere { leader }),
    ]
}

proptest::proptest! {
    /// Whatever happens, every master is asked again before long, and no pause is longer than the longest.
    #[test]
    fn nobody_is_forgotten(
        outcomes in prop::collection::vec((outcome(), any::<u64>()), 0..60),
        random in any::<u64>(),
    ) {
        let all = masters(&["a", "b", "c", "d"]);
        let mut search = Search::new(all.clone(), Vec::new());
        for (outcome, random) in outcomes {
            proptest::prop_assert!(search.next(random).wait <= LONGEST_PAUSE);
            search.ended(outcome);
        }
        let mut asked: Vec<String> = Vec::new();
        for _ in 0..6 {
            asked.push(search.next(random).at);
            search.ended(Outcome::Lost);
        }
        proptest::prop_assert!(all.iter().all(|at| asked.contains(at)), "{asked:?}");
    }
}
