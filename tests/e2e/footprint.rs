//! What an idle system costs.

use hancock_testkit::{proc, wait_for};

use crate::runtime::Runtime;
use crate::world::{SOON, World};

/// Resident memory of the shipped build when idle, in KiB.
const ALLOWED: u64 = 60 * 1024;

#[test]
fn an_idle_system_is_small() {
    let mut world = World::start(Runtime::Process);
    let pid = world.daemon().pid();
    let resident = wait_for("its memory", SOON, || {
        proc::resident_kib(pid).ok_or("no VmRSS")
    });
    println!(
        "idle hancock dev: {:.1} MiB resident",
        resident as f64 / 1024.0
    );
    // A debug build is larger in code and in everything; it is told, not judged.
    if !cfg!(debug_assertions) {
        assert!(resident <= ALLOWED, "{resident} KiB");
    }
}
