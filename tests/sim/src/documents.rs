//! Documents on their way: from a registry to the balancer, and from there to the disk.

use std::sync::Arc;

use hancock_proto::service::ServiceName;
use hancock_proto::upstream::UpstreamDoc;
use hancock_registry::watcher::Apply;

use crate::balancer::Effect;
use crate::settings::Fault;
use crate::world::{Daily, Event, World};

/// Time between questions to the store outside.
const WATCH: u64 = 250;

impl World {
    pub(crate) fn apply_documents(&mut self, node: usize, applies: Vec<Apply>) {
        let now = self.time();
        for Apply { name, doc } in applies {
            self.say(|w| {
                let index = doc.as_ref().map(|d| d.index());
                format!("{} hears {name} at {index:?}", w.hosts[node].id())
            });
            let Some(daemon) = &mut self.hosts[node].daemon else {
                return;
            };
            let valid = daemon.balancer.apply(&name, doc, now);
            // Somebody else's empty document is refused, as it should be.
            if !valid && !self.oracle.meddled.contains_key(&name) {
                self.fail(format!("a document of {name} is not valid"));
            }
            self.balancer_effects(node);
        }
        if let Some(daemon) = &mut self.hosts[node].daemon {
            daemon.record.registry = daemon.watcher.revision();
        }
    }

    /// What the balancer wants done.
    pub(crate) fn balancer_effects(&mut self, node: usize) {
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        for effect in daemon.balancer.effects() {
            match effect {
                Effect::Write(name, sequence, doc) => self.write(node, name, sequence, doc),
                Effect::Local(id, generation) => {
                    self.daemon_after(node, 1, Daily::Local(id, generation));
                }
                Effect::Accept(name, id, index) => {
                    self.daemon_after(node, 1, Daily::Accept(name, id, index));
                }
                Effect::Turn => self.daemon_after(node, 100, Daily::BalancerTurn),
                Effect::Emptied(name, index) => self.judge_emptied(node, &name, index),
                Effect::Switched(name, before, after) => {
                    self.judge_switch(node, &name, &before, &after);
                }
            }
        }
    }

    /// The last known good documents are flushed in the order they were written.
    fn write(
        &mut self,
        node: usize,
        name: ServiceName,
        sequence: u64,
        doc: Option<Arc<UpstreamDoc>>,
    ) {
        let slow = self.hosts[node].slow_disk;
        let delay = self.rng.between(1, 8)
            + if slow > 0 {
                self.rng.between(0, slow)
            } else {
                0
            };
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        let at = (self.now + delay).max(daemon.flushed);
        daemon.flushed = at;
        let epoch = daemon.epoch;
        let durable = Daily::Durable(name, sequence, doc);
        self.queue.put(at, Event::Daemon(node, epoch, durable));
    }

    pub(crate) fn durable(
        &mut self,
        node: usize,
        name: &ServiceName,
        sequence: u64,
        doc: Option<Arc<UpstreamDoc>>,
    ) {
        let host = &mut self.hosts[node];
        match doc {
            Some(doc) => drop(host.disk.documents.insert(name.clone(), doc)),
            None => drop(host.disk.documents.remove(name)),
        }
        if let Some(daemon) = &mut host.daemon {
            daemon.balancer.durable(name, sequence);
        }
    }

    /// Asks the store outside for what is new.
    pub(crate) fn watch(&mut self, node: usize) {
        let faulty = self.settings.has(Fault::Store) && !self.peace;
        let delay = if faulty && self.rng.percent(3) {
            self.rng.between(500, 8000)
        } else {
            WATCH
        };
        self.daemon_after(node, delay, Daily::Watch);
        if self.now < self.external.away_until || !self.hosts[node].linked {
            return;
        }
        let store = &self.external.store;
        // A store nobody ever led says nothing; what came from it first could never be proven gone.
        if store.list().fence.is_none() && self.oracle.wiped == 0 {
            return;
        }
        let Some(daemon) = &mut self.hosts[node].daemon else {
            return;
        };
        // What a real reader keeps of its store tells it from another one, also after a restart.
        let identity = Some(self.external.identity);
        let same = daemon.record.store.is_none() || daemon.record.store == identity;
        daemon.record.store = identity;
        let position = daemon.watcher.revision().filter(|_| same);
        if position == Some(store.revision()) {
            return;
        }
        let applies = match position.and_then(|at| store.changes_after(at)) {
            Some(changes) => daemon.watcher.changes(store.revision(), &changes),
            None => {
                let mut listing = store.list();
                listing.another = !same;
                daemon.watcher.list(&listing)
            }
        };
        self.apply_documents(node, applies);
    }
}
