//! What applying one command costs, and what a turn of the leader does, in clusters of a thousand to a hundred thousand instances.
//!
//! Processor time of one thread. Each command is applied to a clone of the state before it, as one batch of the log is, and the clone is
//! thrown away again, all of it timed; the lowest of some runs counts. Bars: no command above 5 ms, a clone as quick at any size.
//! `tests/bench/run state` runs it.

// A bench reads the clock.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../tests/size/cluster.rs"]
mod cluster;
#[path = "../tests/size/deeds.rs"]
mod deeds;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use cluster::{Cluster, Deed};
use hancock_master_core::{State, plan};
use rustix::time::{ClockId, clock_gettime};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const RUNS: usize = 15;

/// Processor time of this thread.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The lowest of some runs.
fn lowest(runs: usize, mut work: impl FnMut()) -> Duration {
    let each = (0..runs).map(|_| {
        let begun = spent();
        work();
        spent() - begun
    });
    each.min().unwrap_or_default()
}

fn batch(deed: &Deed<'_>) {
    let mut next = deed.state.clone();
    black_box(next.apply(deed.index, deed.term, deed.command));
}

/// By name, the longest of those with the same.
type Times = BTreeMap<String, Duration>;

fn note(times: &mut Times, name: &str, took: Duration) {
    let longest = times.entry(name.to_owned()).or_default();
    *longest = took.max(*longest);
}

fn word(deed: &Deed<'_>) -> String {
    let command = serde_json::to_value(deed.command).unwrap();
    let (word, _) = command.as_object().unwrap().iter().next().unwrap();
    word.clone()
}

fn measure(instances: usize) -> Times {
    let mut times = Times::new();
    let mut cluster = Cluster::new(instances);
    let state = cluster.state.clone();
    assert_eq!(state.instances.len(), instances);
    let clones = lowest(RUNS, || {
        (0..1000).for_each(|_| drop(black_box(state.clone())))
    });
    note(&mut times, "~clone", clones / 1000);
    let view = cluster.view();
    let now = cluster.now();
    let quiet = lowest(RUNS, || drop(black_box(plan(&state, &view, now, 0))));
    note(&mut times, "~plan", quiet);
    let mut bytes = Vec::new();
    note(&mut times, "~encode", lowest(1, || bytes = state.encode()));
    let decode = lowest(1, || drop(black_box(State::decode(&bytes).unwrap())));
    note(&mut times, "~decode", decode);
    deeds::all(&mut cluster, &mut |deed| {
        note(&mut times, &word(deed), lowest(RUNS, || batch(deed)));
    });
    times
}

fn main() {
    let each = SIZES.map(measure);
    println!("  processor time in microseconds, by instances");
    println!(
        "  {:20} {:>10} {:>10} {:>10}",
        "", SIZES[0], SIZES[1], SIZES[2]
    );
    for name in each[2].keys() {
        let [a, b, c] = [0, 1, 2].map(|n| each[n].get(name).map_or(0.0, |t| t.as_secs_f64() * 1e6));
        println!("  {name:20} {a:10.1} {b:10.1} {c:10.1}");
    }
    let applied = each[2].iter().filter(|(name, _)| !name.starts_with('~'));
    let (name, longest) = applied.max_by_key(|(_, took)| **took).unwrap();
    println!("  longest pause at {}: {longest:?} ({name})", SIZES[2]);
}
