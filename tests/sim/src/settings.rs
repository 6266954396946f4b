//! What kind of world a seed makes. Each seed switches on its own few faults: with all of them at once, little would ever get far.

use std::collections::BTreeSet;

use crate::rng::Rng;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A leader goes; a former one may go on believing.
    Leader,
    /// A leader's clock jumps.
    Clock,
    /// A daemon ends and comes back, its instances go on.
    Daemon,
    /// A machine loses its power and gets it back.
    Power,
    /// An instance ends by itself.
    Exit,
    /// A node and the masters do not hear each other.
    Link,
    /// One node does not reach the instances of another.
    Route,
    /// Disks are slow.
    Disk,
    /// Reports and assignments come late, twice, or in another order.
    Mail,
    /// Deeds of engines fail, or are done and the answer says they failed.
    Engine,
    /// The registry loses answers, is away, forgets its past.
    Store,
    /// The registry loses everything.
    Wipe,
    /// The registry is put back to what it was some time ago.
    Restore,
    /// Somebody else writes a name of the masters' into the registry, or deletes it.
    Foreign,
    /// A node's labels change, and with them its zones.
    Label,
}

const ALL: [Fault; 15] = [
    Fault::Leader,
    Fault::Clock,
    Fault::Daemon,
    Fault::Power,
    Fault::Exit,
    Fault::Link,
    Fault::Route,
    Fault::Disk,
    Fault::Mail,
    Fault::Engine,
    Fault::Store,
    Fault::Wipe,
    Fault::Restore,
    Fault::Foreign,
    Fault::Label,
];

/// Faults no client may notice.
const QUIET: [Fault; 5] = [
    Fault::Leader,
    Fault::Disk,
    Fault::Mail,
    Fault::Store,
    Fault::Engine,
];

/// What a seed decided about its world.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Machines.
    pub(crate) nodes: usize,
    /// Apps.
    pub(crate) apps: usize,
    /// Only faults no client may notice: then no request may fail at all.
    pub(crate) calm: bool,
    /// The registry is a store of its own; otherwise it is part of the replicated state.
    pub(crate) external: bool,
    /// Apps move between zones. Only with the registry of the replicated state: it is what is filtered for each node.
    pub(crate) zones: bool,
    /// Some versions of apps run alone, and have what they write to for themselves.
    pub(crate) alone: bool,
    /// Host ports per node; few, so that they are given out again soon.
    pub(crate) ports: u16,
    /// Faults that may be among them.
    pub(crate) faults: BTreeSet<Fault>,
    /// Highest pause between two things that happen, in milliseconds.
    pub(crate) pause: u64,
}

impl Settings {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let calm = rng.percent(30);
        let external = rng.percent(50);
        let zones = !external && rng.percent(50);
        let among: &[Fault] = if calm { &QUIET } else { &ALL };
        let mut faults: BTreeSet<Fault> = BTreeSet::new();
        for fault in among {
            let possible = match fault {
                Fault::Wipe | Fault::Restore | Fault::Foreign => external,
                Fault::Label => zones,
                _ => true,
            };
            if rng.percent(45) && possible {
                faults.insert(*fault);
            }
        }
        Self {
            nodes: 2 + rng.below(3),
            apps: 1 + rng.below(2),
            calm,
            external,
            zones,
            alone: rng.percent(40),
            ports: if rng.percent(50) { 8 } else { 100 },
            faults,
            pause: [1500, 6000, 20_000][rng.below(3)],
        }
    }

    /// A world in which nothing goes wrong by itself.
    pub(crate) fn quiet(nodes: usize) -> Self {
        Self {
            nodes,
            apps: 2,
            calm: true,
            external: false,
            zones: false,
            alone: false,
            ports: 100,
            faults: BTreeSet::new(),
            pause: 1500,
        }
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}
