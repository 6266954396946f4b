//! What is drawn by lot in a run, which is the same each time.

use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use rand::RngExt;

/// A number below `n`.
pub(super) fn below(n: u64) -> u64 {
    SimRuntime::thread_rng().random_range(0..n)
}
