//! The end of a run: faults are over, and everything must find its place, in bounded time. Then one more rollout, which nobody notices.

use std::collections::BTreeSet;

use hancock_master_core::command::Command;
use hancock_master_core::documents;
use hancock_master_core::state::{App, Phase, State};
use hancock_proto::ids::InstanceId;
use hancock_proto::service::ServiceName;

use crate::cluster::Then;
use crate::specs::{spec, viable};
use crate::world::World;

/// Virtual time everything has to find its place: instances are held and sessions drained for a minute, replacements wait for one.
const PLACE: u64 = 900_000;
/// Virtual time one rollout has when nothing is wrong.
const ROLLOUT: u64 = 150_000;

impl World {
    /// Plays the run to its end.
    pub fn play(&mut self) {
        self.run_until(|w| w.steps == 0);
        self.make_peace();
        self.settle("after the faults", PLACE);
        self.roll_out();
        for master in 0..self.cluster.masters.len() {
            self.catch_up(master);
            self.compare(master);
        }
    }

    pub(crate) fn settle(&mut self, when: &str, time: u64) {
        let (until, mut look) = (self.now + time, self.now);
        self.run_until(|w| {
            let due = w.now >= look;
            if due {
                look = w.now + 500;
            }
            w.now >= until || (due && w.unsettled().is_none())
        });
        if let Some(why) = self.unsettled().filter(|_| self.violation.is_none()) {
            self.fail(format!("not settled {} s {when}: {why}", time / 1000));
        }
    }

    /// One more version of everything: every client is served well all the time.
    fn roll_out(&mut self) {
        if self.violation.is_some() {
            return;
        }
        // What began before the world was whole may still fail.
        let calm = self.now + 10_000;
        self.run_until(|w| w.now >= calm);
        self.oracle.strict = Some(self.now);
        let before = self.cluster.state().last_deployment;
        let apps: Vec<_> = self.cluster.state().apps.keys().cloned().collect();
        for app in apps {
            let Some(master) = self.cluster.leader else {
                return self.fail("nobody leads in peace".to_owned());
            };
            let at = self.clock(master);
            let spec = spec(app.as_str(), 1, 2);
            self.propose(master, Command::ApplyApp { spec, at }, Then::Nothing);
        }
        let soon = self.now + 100;
        self.run_until(|w| w.now >= soon);
        self.settle("after a last rollout", ROLLOUT);
        let state = self.cluster.state();
        let new = state.deployments.values().filter(|d| d.id.0 > before);
        let failed: Vec<_> = new
            .filter(|d| d.phase != Phase::Successful)
            .map(|d| d.reason.clone())
            .collect();
        if !failed.is_empty() && self.violation.is_none() {
            self.fail(format!("a last rollout failed: {}", failed.join("; ")));
        }
    }

    /// What has not found its place yet; None: everything has.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let Some(leader) = self.cluster.leader else {
            return Some("nobody leads".to_owned());
        };
        let state = &self.cluster.masters[leader].state;
        let open = state.deployments.values().find(|d| !d.phase.is_over());
        if let Some(d) = open {
            return Some(format!("deployment {} is {:?}", d.id, d.phase));
        }
        let mut wanted = BTreeSet::new();
        for app in state.apps.values() {
            if let Some(why) = settled_app(app) {
                return Some(why);
            }
            wanted.extend(app.routes.serving.iter().cloned());
        }
        let known: BTreeSet<InstanceId> = state.instances.keys().cloned().collect();
        if known != wanted {
            return Some(format!("instances are {known:?}, served are {wanted:?}"));
        }
        self.unsettled_machine(&wanted)
            .or_else(|| self.unsettled_routes(state))
    }

    fn unsettled_machine(&self, wanted: &BTreeSet<InstanceId>) -> Option<String> {
        let mut there = BTreeSet::new();
        for host in &self.hosts {
            for (id, container) in host.engine.all() {
                if !container.answers(self.now) || !there.insert(id.clone()) {
                    return Some(format!("{} has {id}, which does not serve", host.id()));
                }
            }
        }
        (there != *wanted).then(|| format!("{there:?} run, {wanted:?} should"))
    }

    fn unsettled_routes(&self, state: &State) -> Option<String> {
        let store = if self.settings.external {
            &self.external.store
        } else {
            &state.registry
        };
        let entries = store.list().entries;
        let mut names = BTreeSet::new();
        for app in state.apps.values() {
            for (name, doc) in documents(state, app) {
                if entries.get(&name).map(|e| &e.doc) != doc.as_ref() {
                    return Some(format!(
                        "the registry's {name} is not what follows from the state"
                    ));
                }
                if doc.is_none() {
                    continue;
                }
                if let Some(why) = self.unsettled_views(app, &name) {
                    return Some(why);
                }
                names.insert(name);
            }
        }
        if let Some(orphan) = entries.keys().find(|n| !names.contains(*n)) {
            return Some(format!("the registry has an orphan {orphan}"));
        }
        self.unsettled_names(&names)
    }

    fn unsettled_views(&self, app: &App, name: &ServiceName) -> Option<String> {
        for (node, host) in self.hosts.iter().enumerate() {
            if !self.is_carried(node, name) {
                continue;
            }
            let daemon = host.daemon.as_ref()?;
            let view = daemon.balancer.load(name);
            let entries = view.iter().flat_map(|v| v.entries());
            let routed: BTreeSet<_> = entries.filter_map(|e| e.peer.instance().cloned()).collect();
            if routed != app.routes.serving {
                let serving = &app.routes.serving;
                return Some(format!(
                    "{} routes {name} to {routed:?}, not to {serving:?}",
                    host.id()
                ));
            }
        }
        None
    }

    fn unsettled_names(&self, names: &BTreeSet<ServiceName>) -> Option<String> {
        // Names that went while the store had lost everything cannot be proven gone, and are kept.
        if self.oracle.wiped > 0 {
            return None;
        }
        for (node, host) in self.hosts.iter().enumerate() {
            let names = names.iter().filter(|name| self.is_carried(node, name));
            let names: BTreeSet<_> = names.collect();
            let daemon = host.daemon.as_ref()?;
            let served = daemon.balancer.names();
            if let Some(orphan) = served.iter().find(|n| !names.contains(*n)) {
                return Some(format!("{} serves an orphan {orphan}", host.id()));
            }
            let stored = host.disk.documents.keys();
            if stored.count() != names.len() {
                return Some(format!("{} has stored something else", host.id()));
            }
        }
        None
    }
}

fn settled_app(app: &App) -> Option<String> {
    let name = &app.name;
    let switching = !app.routes.cutovers.is_empty() || !app.routes.leaving.is_empty();
    if switching || !app.routes.is_published() {
        return Some(format!("{name} is switching"));
    }
    let live = app.live_spec().filter(|s| viable(s));
    let wanted = live.map_or(0, |s| s.replicas as usize);
    let have = app.routes.serving.len();
    // There may be no place left where they could write alone.
    let crowded = live.is_some_and(|s| s.has_single_writer()) && have < wanted;
    (have != wanted && !crowded).then(|| format!("{name} has {have} of {wanted} replicas"))
}
