//! One run from its seed to its verdict.

use std::collections::BTreeMap;

use crate::world::World;

/// Things that happen in one run before it is left in peace.
pub const STEPS: usize = 36;

/// How a run went.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// Things that happened before peace.
    pub steps: usize,
    /// What was wrong first; None: nothing.
    pub violation: Option<String>,
    /// A number that depends on everything that happened.
    pub digest: u64,
    /// What happened, line by line; empty unless asked for.
    pub trace: String,
    /// How often what was judged.
    pub judged: BTreeMap<&'static str, u64>,
    /// Virtual time, in seconds.
    pub seconds: u64,
}

/// Plays one run.
pub fn run(seed: u64, steps: usize, verbose: bool) -> Run {
    let mut world = World::new(seed, steps, verbose);
    world.play();
    let mut judged = world.oracle.judged.clone();
    judged.insert("requests served", world.oracle.served);
    judged.insert("requests failed", world.oracle.failed);
    judged.insert("commands", world.cluster.log.len() as u64);
    judged.insert("events", world.queue.count());
    Run {
        seed,
        steps,
        violation: world.violation.clone(),
        digest: world.digest(),
        trace: world.trace(),
        judged,
        seconds: world.seconds(),
    }
}

impl Run {
    /// How to see it again, line by line.
    pub fn replay(&self) -> String {
        format!(
            "SIM_SEED={} SIM_STEPS={} cargo test -p hancock-sim --test seeds -- --nocapture",
            self.seed, self.steps
        )
    }
}
