//! Nodes that are cut off from the masters again and again, each time for less than it takes to be lost: nothing that is well is touched.

use std::collections::BTreeSet;

use hancock_master_core::command::Command;
use hancock_proto::ids::InstanceId;

use crate::cluster::Then;
use crate::settings::Settings;
use crate::specs::{APPS, spec};
use crate::world::World;

/// Longest cuts, one of them drawn each time, in milliseconds. With what a daemon takes to notice and to call again the longest silence
/// stays below the minute after which a node is lost.
const LONGEST: [u64; 4] = [500, 5_000, 20_000, 50_000];
/// Shortest and longest time a node is left in peace between two cuts, in milliseconds: enough to call again and be heard, or two cuts would
/// be one.
const PAUSE: (u64, u64) = (2_000, 8_000);
/// Virtual time the apps have to come up, and to be whole after the last cut.
const PLACE: u64 = 120_000;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts {
    /// What was wrong first; None: nothing.
    pub violation: Option<String>,
    /// Cuts there were.
    pub cuts: usize,
    /// Instances that ran all the time.
    pub instances: usize,
    /// Containers that were started after the first cut.
    pub started: u64,
    /// Of those that ran before, how many do not run as they did.
    pub touched: usize,
    /// Nodes that were taken for lost.
    pub lost: usize,
    /// Requests served and failed while it went on.
    pub requests: (u64, u64),
    /// Virtual time, in seconds.
    pub seconds: u64,
}

/// Plays `count` cuts over three nodes that run two apps, all drawn from `seed`.
pub fn cuts(seed: u64, count: usize) -> Cuts {
    let mut world = World::of(seed, Settings::quiet(3), 0, false);
    world.deploy_all();
    let before = world.running();
    let (starts, served, failed) = world.tally();
    world.cut_again_and_again(count);
    world.settle("after the last cut", PLACE);
    let after = world.running();
    let (all_starts, all_served, all_failed) = world.tally();
    let events = &world.cluster.state().events;
    Cuts {
        cuts: count,
        instances: before.len(),
        started: all_starts - starts,
        touched: before.difference(&after).count(),
        lost: events.iter().filter(|e| e.kind == "node_lost").count(),
        requests: (all_served - served, all_failed - failed),
        seconds: world.seconds(),
        violation: world.violation,
    }
}

impl World {
    fn deploy_all(&mut self) {
        self.run_until(|w| w.cluster.leader.is_some() && w.cluster.state().nodes.len() == 3);
        let Some(master) = self.cluster.leader else {
            return;
        };
        for app in APPS {
            let at = self.clock(master);
            let spec = spec(app, 0, 3);
            self.propose(master, Command::ApplyApp { spec, at }, Then::Nothing);
        }
        let soon = self.now + 1000;
        self.run_until(|w| w.now >= soon);
        self.settle("at the beginning", PLACE);
    }

    /// Instances that run, each with the number of its start.
    fn running(&self) -> BTreeSet<(InstanceId, u64)> {
        let hosts = self.hosts.iter();
        hosts
            .flat_map(|host| host.engine.running())
            .map(|(id, container)| (id.clone(), container.run))
            .collect()
    }

    /// Starts, and requests that were served and that failed.
    fn tally(&self) -> (u64, u64, u64) {
        let starts = self.oracle.judged.get("starts").copied();
        let (served, failed) = (self.oracle.served, self.oracle.failed);
        (starts.unwrap_or_default(), served, failed)
    }

    /// Each node for itself: cut, whole, cut.
    fn cut_again_and_again(&mut self, count: usize) {
        let mut next: Vec<u64> = vec![self.now; self.hosts.len()];
        let mut begun = 0;
        while self.violation.is_none() && (begun < count || self.hosts.iter().any(|h| !h.linked)) {
            let Some((node, at)) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at)
            else {
                return;
            };
            self.run_until(|w| w.now >= at);
            let whole = self.hosts[node].linked;
            next[node] = match whole {
                true if begun == count => u64::MAX,
                true => {
                    begun += 1;
                    self.link_fault(node);
                    let longest = LONGEST[self.rng.below(LONGEST.len())];
                    self.now + self.rng.between(1, longest)
                }
                false => {
                    self.link(node);
                    self.now + self.rng.between(PAUSE.0, PAUSE.1)
                }
            };
        }
    }
}
