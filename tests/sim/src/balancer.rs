//! A node's balancer: the real cutover, drain, views and readiness, moved by a shell that has no threads. What the shell would start as
//! a task or write to disk comes out as an [`Effect`].

mod local;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_balancer_core::cutover::{Cutover, Step};
use hancock_balancer_core::peer::Verdict;
use hancock_balancer_core::table::View;
use hancock_balancer_core::upstream::Upstream;
use hancock_proto::ids::{DocIndex, InstanceId};
use hancock_proto::report::ServiceReport;
use hancock_proto::service::{ServiceKind, ServiceName};
use hancock_proto::time::Timestamp;
use hancock_proto::upstream::UpstreamDoc;

use local::Local;
pub(crate) use local::LocalSpec;
use service::Service;

/// What the world has to do for a balancer.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Write this down; [`Balancer::durable`] follows when it is on disk.
    Write(ServiceName, u64, Option<Arc<UpstreamDoc>>),
    /// Probe an instance of this node, as the given task.
    Local(InstanceId, u64),
    /// Probe an added peer.
    Accept(ServiceName, InstanceId, DocIndex),
    /// Look at deadlines and drains in a moment.
    Turn,
    /// A service that could be picked from routes to nobody now. With the index of its document; None: deleted.
    Emptied(ServiceName, Option<DocIndex>),
    /// A service switched from one view to another by a document that adds peers.
    Switched(ServiceName, Arc<View>, Arc<View>),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Balancer {
    services: BTreeMap<ServiceName, Service>,
    active: BTreeSet<ServiceName>,
    locals: BTreeMap<InstanceId, Local>,
    generation: u64,
    sequence: u64,
    effects: Vec<Effect>,
}

impl Balancer {
    /// One that serves what was last known good.
    pub(crate) fn restored(documents: &BTreeMap<ServiceName, Arc<UpstreamDoc>>) -> Self {
        let mut balancer = Self::default();
        for (name, doc) in documents {
            let Some(upstream) = upstream(name, doc.clone()) else {
                continue;
            };
            let upstream = Arc::new(upstream);
            let mut service = Service::new(Cutover::restored(upstream.clone()));
            service.confirmed = upstream.index();
            service.install(&upstream, &balancer.locals);
            balancer.services.insert(name.clone(), service);
        }
        balancer
    }

    /// What is to be done since the last call.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Begins a routing phase: it lasts as long as the view is held.
    pub(crate) fn load(&self, name: &ServiceName) -> Option<Arc<View>> {
        let service = self.services.get(name).filter(|s| !s.deleted)?;
        Some(service.view.clone())
    }

    /// Every view that new requests get.
    pub(crate) fn views(&self) -> impl Iterator<Item = (&ServiceName, &Arc<View>)> {
        self.services.iter().map(|(name, s)| (name, &s.view))
    }

    /// Services served.
    pub(crate) fn names(&self) -> Vec<ServiceName> {
        self.services.keys().cloned().collect()
    }

    /// One change of one service. False: the document is not valid.
    pub(crate) fn apply(
        &mut self,
        name: &ServiceName,
        doc: Option<Arc<UpstreamDoc>>,
        now: Timestamp,
    ) -> bool {
        let Some(doc) = doc else {
            if let Some(service) = self.services.get_mut(name) {
                let steps = service.cutover.deleted();
                self.carry_out(name, steps);
            }
            return true;
        };
        let Some(upstream) = upstream(name, doc) else {
            return false;
        };
        let ready = self.ready();
        let service = self.services.entry(name.clone());
        let service = service.or_insert_with(|| Service::new(Cutover::default()));
        if std::mem::take(&mut service.deleted) {
            service.confirmed = DocIndex(0);
        }
        let steps = service.cutover.document(Arc::new(upstream), &ready, now);
        self.carry_out(name, steps);
        true
    }

    fn ready(&self) -> BTreeSet<InstanceId> {
        let ready = self.locals.iter().filter(|(_, l)| l.is_ready());
        ready.map(|(id, _)| id.clone()).collect()
    }

    /// An added peer was probed. Answers whether it is to be probed again.
    pub(crate) fn accept_probed(
        &mut self,
        name: &ServiceName,
        instance: &InstanceId,
        result: Result<(), String>,
    ) -> bool {
        let passed = result.is_ok();
        let Some(service) = self.services.get_mut(name) else {
            return false;
        };
        let steps = service.cutover.probed(instance, result);
        self.carry_out(name, steps);
        !passed
    }

    /// The document in which an added peer is to be probed; None: nobody waits for it any more.
    pub(crate) fn accepting(
        &self,
        name: &ServiceName,
        instance: &InstanceId,
        index: DocIndex,
    ) -> Option<Arc<Upstream>> {
        let service = self.services.get(name)?;
        let wanted = service.accepting.contains(&(instance.clone(), index));
        let (upstream, _) = service.cutover.to_probe().filter(|_| wanted)?;
        Some(upstream.clone())
    }

    /// A change is on disk.
    pub(crate) fn durable(&mut self, name: &ServiceName, sequence: u64) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        if let Some((_, index)) = service.writing.take_if(|(wanted, _)| *wanted == sequence) {
            service.confirmed = index;
        }
    }

    /// Deadlines and drains of services that have any.
    pub(crate) fn turn(&mut self, now: Timestamp) {
        for name in std::mem::take(&mut self.active) {
            let Some(service) = self.services.get_mut(&name) else {
                continue;
            };
            let steps = service.cutover.tick(now);
            if !steps.is_empty() {
                self.carry_out(&name, steps);
            }
            let Some(service) = self.services.get_mut(&name) else {
                continue;
            };
            service.settle();
            let open = service.deleted || !service.is_settled();
            if service.deleted && service.writing.is_none() && service.is_settled() {
                self.services.remove(&name);
            } else if service.cutover.deadline().is_some() || open {
                self.active.insert(name);
            }
        }
        if !self.active.is_empty() {
            self.effects.push(Effect::Turn);
        }
    }

    /// What is told of every service of a master.
    pub(crate) fn reports(&mut self) -> BTreeMap<ServiceName, ServiceReport> {
        let services = self.services.iter_mut();
        services
            .filter_map(|(name, s)| Some((name.clone(), s.report()?)))
            .collect()
    }

    fn carry_out(&mut self, name: &ServiceName, steps: Vec<Step>) {
        for step in steps {
            self.step(name, step);
        }
        self.sync_accepting(name);
        if self.active.is_empty() {
            self.effects.push(Effect::Turn);
        }
        self.active.insert(name.clone());
    }

    fn step(&mut self, name: &ServiceName, step: Step) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        match step {
            Step::Hold(upstream) => service.install(&upstream, &self.locals),
            Step::Switch(upstream) => {
                let (had, before) = (service.routes(), service.view.clone());
                service.install(&upstream, &self.locals);
                service.confirmed = service.confirmed.min(upstream.index());
                service.settle();
                self.sequence += 1;
                service.writing = Some((self.sequence, upstream.index()));
                let doc = Some(upstream.doc.clone());
                if had && !service.routes() {
                    let emptied = Effect::Emptied(name.clone(), Some(upstream.index()));
                    self.effects.push(emptied);
                }
                let write = Effect::Write(name.clone(), self.sequence, doc);
                self.effects.push(write);
                if !upstream.added().is_empty() {
                    let after = service.view.clone();
                    let switched = Effect::Switched(name.clone(), before, after);
                    self.effects.push(switched);
                }
            }
            Step::Passed(instance) => service.set_verdict(&instance, Verdict::Ok),
            Step::Refused(_) => {}
            Step::Remove => {
                if service.routes() {
                    self.effects.push(Effect::Emptied(name.clone(), None));
                }
                service.uninstall();
                service.settle();
                service.deleted = true;
                self.sequence += 1;
                service.writing = Some((self.sequence, DocIndex(0)));
                let write = Effect::Write(name.clone(), self.sequence, None);
                self.effects.push(write);
            }
        }
    }

    fn sync_accepting(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Some((upstream, wanted)) = service.cutover.to_probe() else {
            return service.accepting.clear();
        };
        let index = upstream.index();
        let keys: BTreeSet<_> = wanted.into_iter().map(|i| (i, index)).collect();
        service.accepting.retain(|key| keys.contains(key));
        for (instance, index) in keys {
            if service.accepting.insert((instance.clone(), index)) {
                let probe = Effect::Accept(name.clone(), instance, index);
                self.effects.push(probe);
            }
        }
    }
}

/// A document of either kind that is valid.
fn upstream(name: &ServiceName, doc: Arc<UpstreamDoc>) -> Option<Upstream> {
    let upstream = Upstream::new(name.as_str(), doc).ok()?;
    Some(match name.kind() {
        ServiceKind::Http(_) => upstream,
        ServiceKind::Tcp(_) => upstream.over_tcp(),
    })
}
