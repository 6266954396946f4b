//! Many seeds, or one.
//!
//! `SIM_SEEDS` says how many (128), `SIM_FIRST` the first one (1), `SIM_STEPS` how much happens in each, `SIM_SEED` plays only that one
//! and prints what happens.

#![allow(clippy::unwrap_used)]

use hancock_sim::{Run, STEPS, cuts, run};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
    )
}

fn steps() -> usize {
    number("SIM_STEPS").map_or(STEPS, |n| usize::try_from(n).unwrap())
}

fn tell(run: &Run) {
    println!("seed {}: {} s, {:?}", run.seed, run.seconds, run.judged);
}

#[test]
fn what_must_hold_holds() {
    if let Some(seed) = number("SIM_SEED") {
        let run = run(seed, steps(), true);
        println!("{}", run.trace);
        tell(&run);
        assert_eq!(run.violation, None);
        return;
    }
    let first = number("SIM_FIRST").unwrap_or(1);
    let mut wrong = Vec::new();
    for seed in first..first + number("SIM_SEEDS").unwrap_or(128) {
        let run = run(seed, steps(), false);
        if let Some(violation) = &run.violation {
            wrong.push(format!("seed {seed}: {violation}\n    {}", run.replay()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} went wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_seed_is_a_run() {
    for seed in [3, 4, 5, 6] {
        let (one, two) = (run(seed, 20, true), run(seed, 20, true));
        assert!(one.trace == two.trace, "seed {seed} has two traces");
        assert_eq!(one.digest, run(seed, 20, false).digest, "seed {seed}");
    }
}

/// Silence shorter than it takes to be lost changes nothing: nobody is restarted, and clients notice nothing.
#[test]
fn a_thousand_short_cuts_restart_nothing() {
    for seed in [1, 2] {
        let came = cuts(seed, 500);
        println!("seed {seed}: {came:?}");
        assert_eq!(came.violation, None, "seed {seed}");
        let touched = (came.cuts, came.instances, came.started, came.touched);
        assert_eq!(touched, (500, 6, 0, 0), "seed {seed}: {came:?}");
        assert_eq!(
            (came.lost, came.requests.1),
            (0, 0),
            "seed {seed}: {came:?}"
        );
        assert!(came.requests.0 > 1000, "seed {seed}: {came:?}");
    }
}
