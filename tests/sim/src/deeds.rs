//! What happens to the world: wishes of owners, faults, and their ends.

use std::sync::Arc;

use hancock_master_core::command::Command;
use hancock_proto::ids::{AppName, DeploymentId, InstanceId};
use hancock_proto::registry::Batch;
use hancock_proto::upstream::UpstreamDoc;

use crate::cluster::Then;
use crate::settings::Fault;
use crate::specs::{ALONE, APPS, CITIES, IN_ZONES, VERSIONS, city, spec};
use crate::world::{EngineEvent, Event, World};

impl World {
    /// One thing happens, and the next one is put in line.
    pub(crate) fn next_deed(&mut self) {
        if self.steps == 0 {
            return;
        }
        self.steps -= 1;
        let pause = self.settings.pause;
        let after = self.rng.between(50, pause);
        self.after(after, Event::Next);
        let faults: Vec<Fault> = self.settings.faults.iter().copied().collect();
        let fault = self
            .rng
            .one(&faults)
            .filter(|_| self.steps.is_multiple_of(2));
        match fault {
            Some(fault) => self.fault(fault),
            None => self.wish(),
        }
    }

    // Names of apps are this crate's own.
    #[allow(clippy::unwrap_used)]
    fn wish(&mut self) {
        let Some(master) = self.cluster.leader else {
            return;
        };
        let at = self.clock(master);
        let which = self.rng.below(self.settings.apps);
        let app: AppName = APPS[which].parse().unwrap();
        let newest = self.cluster.state().last_deployment;
        let back = self.rng.between(0, 2);
        // Stops and deletions are rare: nothing would be left to look at.
        let command = match self.rng.below(21) {
            0..=9 => self.new_version(APPS[which]),
            10 | 11 => Command::Scale {
                replicas: u32::try_from(self.rng.between(1, 4)).unwrap_or(1),
                app,
                at,
            },
            12 | 13 => Command::Restart { app, at },
            14 => Command::StopApp { app, at },
            15 | 16 => Command::StartApp { app, at },
            17 => Command::DeleteApp { app, at },
            18 => Command::Rollback {
                app,
                version: None,
                at,
            },
            19 => Command::ReplaceInstance {
                instance: self.some_instance(&app),
                at,
            },
            _ => Command::Abort {
                deployment: DeploymentId(newest.saturating_sub(back)),
                at,
            },
        };
        self.say(|_| format!("wish: {command}"));
        self.propose(master, command, Then::Nothing);
    }

    /// One of the app's, or one there never was.
    fn some_instance(&mut self, app: &AppName) -> InstanceId {
        let all = self.cluster.state().instances.keys();
        let mine = all.filter(|id| id.as_str().starts_with(app.as_str()));
        let mine: Vec<InstanceId> = mine.cloned().collect();
        match mine.len() {
            0 => InstanceId::new(app, 0),
            n => mine[self.rng.below(n)].clone(),
        }
    }

    fn new_version(&mut self, app: &str) -> Command {
        let more = if self.settings.zones { IN_ZONES } else { 0 };
        let version = match self.settings.alone && self.rng.percent(40) {
            true => VERSIONS + IN_ZONES + self.rng.below(ALONE),
            false => self.rng.below(VERSIONS + more),
        };
        let replicas = u32::try_from(self.rng.between(1, 3)).unwrap_or(1);
        Command::ApplyApp {
            spec: spec(app, version, replicas),
            at: self.time(),
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.say(|_| format!("fault: {fault:?}"));
        let node = self.rng.below(self.hosts.len());
        match fault {
            Fault::Leader => self.leader_fault(),
            Fault::Clock => self.clock_fault(),
            Fault::Daemon => self.daemon_fault(node),
            Fault::Power => self.power_fault(node),
            Fault::Exit => self.exit_fault(node),
            Fault::Link => self.link_fault(node),
            Fault::Route => self.route_fault(node),
            Fault::Disk => {
                let slow = [0, 500, 3000];
                self.hosts[node].slow_disk = slow[self.rng.below(3)];
            }
            // These strike message by message and deed by deed.
            Fault::Mail | Fault::Engine => self.wish(),
            Fault::Store => self.store_fault(),
            Fault::Wipe => self.wipe(),
            Fault::Restore => self.restore(),
            Fault::Foreign => self.meddle(),
            Fault::Label => {
                let city = CITIES[self.rng.below(CITIES.len())];
                self.label(node, city);
            }
        }
    }

    fn leader_fault(&mut self) {
        if self.rng.percent(30) {
            return self.haunt();
        }
        let believes = self.rng.percent(60);
        self.depose(believes);
    }

    fn clock_fault(&mut self) {
        let jump = self.rng.between(0, 40_000);
        let master = self.rng.below(self.cluster.masters.len());
        let jump = i64::try_from(jump).unwrap_or_default() - 20_000;
        self.cluster.masters[master].offset = jump;
    }

    fn daemon_fault(&mut self, node: usize) {
        if self.hosts[node].daemon.is_none() {
            return self.boot(node);
        }
        self.crash(node);
        if self.rng.percent(60) {
            self.boot(node);
        }
    }

    /// The daemon ends; what was not on disk is gone.
    pub(crate) fn crash(&mut self, node: usize) {
        let Some(daemon) = self.hosts[node].daemon.take() else {
            return;
        };
        self.hosts[node].steady = u64::MAX;
        self.say(|w| format!("{} daemon ends", w.hosts[node].id()));
        self.requests.retain(|_, r| r.node != node);
        if let Some(session) = daemon.session {
            // The other side may notice late.
            let notice = self.rng.between(0, 5000);
            self.after(notice, Event::Broken(session));
        }
    }

    fn power_fault(&mut self, node: usize) {
        if !self.hosts[node].power {
            return self.power_on(node);
        }
        self.crash(node);
        let keep = self.rng.percent(50);
        let now = self.now;
        let host = &mut self.hosts[node];
        host.power = false;
        host.steady = u64::MAX;
        let running: Vec<_> = host.engine.running().map(|(id, _)| id.clone()).collect();
        host.engine.power_off(keep, now);
        running.iter().for_each(|id| self.oracle.crashed(id, now));
    }

    pub(crate) fn power_on(&mut self, node: usize) {
        self.hosts[node].power = true;
        self.boot(node);
    }

    fn exit_fault(&mut self, node: usize) {
        let running: Vec<_> = self.hosts[node]
            .engine
            .running()
            .map(|(id, c)| (id.clone(), c.run))
            .collect();
        if let Some((id, run)) = self.rng.one(&running) {
            self.engine(node, EngineEvent::Exit(id, run, true));
        }
    }

    pub(crate) fn link_fault(&mut self, node: usize) {
        if !self.hosts[node].linked {
            return self.link(node);
        }
        let host = &mut self.hosts[node];
        host.linked = false;
        host.steady = u64::MAX;
        let session = host.daemon.as_ref().and_then(|d| d.session);
        if let Some(session) = session {
            let notice = self.rng.between(0, 9000);
            self.after(notice, Event::Broken(session));
        }
    }

    /// Masters and node hear each other again. Nothing that was under way is believed.
    pub(crate) fn link(&mut self, node: usize) {
        let now = self.now;
        let host = &mut self.hosts[node];
        host.linked = true;
        host.steady = now;
        let session = host.daemon.as_ref().and_then(|d| d.session);
        if let Some(session) = session {
            self.close(session);
        }
    }

    fn route_fault(&mut self, node: usize) {
        let other = self.rng.below(self.hosts.len());
        let (now, blocked) = (self.now, &mut self.hosts[node].blocked);
        if !blocked.is_empty() {
            blocked.clear();
        } else if other != node {
            blocked.insert(other);
        }
        self.oracle.rerouted = now;
    }

    fn store_fault(&mut self) {
        match self.rng.below(3) {
            0 => self.external.store.compact(),
            1 => self.external.away_until = self.now + self.rng.between(500, 20_000),
            _ => self.wish(),
        }
    }

    fn wipe(&mut self) {
        self.external.store = hancock_proto::registry::Store::default();
        self.external.identity += 1;
        self.oracle.wiped = self.now;
    }

    /// The store goes back to the copy made last, or a copy is made.
    fn restore(&mut self) {
        match self.external.copy.take() {
            Some(copy) => {
                self.external.set_back(copy);
                self.external.identity += 1;
                self.oracle.wiped = self.now;
            }
            None => self.external.copy = Some(self.external.store.clone()),
        }
    }

    // Names of apps are this crate's own.
    #[allow(clippy::unwrap_used)]
    /// Somebody else deletes a name of the masters', writes what only he knows under it, or what they wrote some time ago.
    fn meddle(&mut self) {
        let listing = self.external.store.list();
        let names: Vec<_> = listing.entries.keys().cloned().collect();
        let (Some(name), Some(rules)) = (self.rng.one(&names), listing.fence) else {
            return;
        };
        let doc = listing.entries[&name].doc.clone();
        let earlier = self.external.earlier.insert(name.clone(), doc.clone());
        let theirs = match self.rng.below(3) {
            0 => None,
            1 => Some(Arc::new(plain(&doc))),
            _ => earlier,
        };
        self.say(|_| format!("somebody else writes {name}: {}", theirs.is_some()));
        self.oracle.meddled.insert(name.clone(), self.now);
        let changes = [(name, theirs)].into();
        let app = APPS[0].parse().unwrap();
        self.external.store.publish(&Batch { app, changes }, &rules);
    }

    /// The daemon of a node starts again with another label.
    fn label(&mut self, node: usize, city: &str) {
        let labels = &mut self.hosts[node].info.labels;
        labels.insert("city".to_owned(), city.to_owned());
        if self.hosts[node].daemon.is_some() {
            self.crash(node);
            self.boot(node);
        }
    }

    /// All faults end.
    pub(crate) fn make_peace(&mut self) {
        self.say(|_| "faults end".to_owned());
        self.peace = true;
        self.external.away_until = 0;
        for node in 0..self.hosts.len() {
            self.hosts[node].blocked.clear();
            self.hosts[node].slow_disk = 0;
            if self.settings.has(Fault::Label) {
                self.label(node, city(node));
            }
            if !self.hosts[node].linked {
                self.link(node);
            }
            if !self.hosts[node].power {
                self.power_on(node);
            }
            self.boot(node);
        }
        for master in 0..self.cluster.masters.len() {
            self.cluster.masters[master].offset = 0;
            if self.cluster.leader != Some(master) {
                self.unlead(master);
            }
        }
    }
}

/// The same servers, as a writer knows them who has never heard of instances.
fn plain(doc: &UpstreamDoc) -> UpstreamDoc {
    let mut plain = doc.clone();
    plain.hancock = None;
    for server in plain
        .cluster
        .iter_mut()
        .flat_map(|level| &mut level.servers)
    {
        server.instance = None;
    }
    plain
}
