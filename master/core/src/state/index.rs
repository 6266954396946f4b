//! What follows from the rest of the state and would take long to find: maintained with every command, derived when a snapshot is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use hancock_proto::app::{AppSpec, PortSpan};
use hancock_proto::assignment::PortBinding;
use hancock_proto::ids::{AppName, DeploymentId, InstanceId, ZoneName};
use hancock_proto::persistent::{Map, Set};
use hancock_proto::service::ServiceName;

use super::{App, Deployment, Instance, Origin, Stage, State};

/// Who has what.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Index {
    claims: Map<AppName, Arc<Claims>>,
    /// Apps that have a name, had it a moment ago, or are about to have it.
    pub(crate) names: Owners<ServiceName, AppName>,
    /// Apps with that fixed host port.
    pub(crate) fixed: Owners<u16, AppName>,
    /// Apps with a service in a zone: now, a moment ago, or soon.
    pub(crate) zones: Owners<ZoneName, AppName>,
    /// Instances with that host port, on whatever node.
    pub(crate) ports: Owners<u16, InstanceId>,
    /// Deployments that are over and not the newest of an app.
    pub(crate) past: Set<DeploymentId>,
    tallies: Map<AppName, Tally>,
    /// Apps that the leader's turn has to look at.
    pub(crate) busy: Set<AppName>,
}

/// How an app's live set stands.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Tally {
    /// Live instances that can be counted on.
    live: u32,
    /// Live ones that cannot or whose checks fail for too long, and replacements.
    ailing: u32,
}

impl Tally {
    /// What one instance adds.
    pub(crate) fn of(state: &State, instance: &Instance) -> Self {
        let sound = !instance.is_over() && !instance.replace && !state.is_lost(&instance.node);
        let live = instance.stage == Stage::Live;
        let replacement = instance.stage == Stage::Starting && instance.origin == Origin::Healing;
        Self {
            live: u32::from(live && sound),
            ailing: u32::from((live && (!sound || instance.is_ailing())) || replacement),
        }
    }
}

/// What one app claims.
#[derive(Debug, Default, PartialEq)]
struct Claims {
    names: BTreeSet<ServiceName>,
    fixed: BTreeSet<u16>,
    zones: BTreeSet<ZoneName>,
}

impl Claims {
    fn of(state: &State, app: &App) -> Self {
        let specs: Vec<&AppSpec> = specs(state, app).collect();
        let names = specs.iter().flat_map(|spec| spec.names());
        let ports = specs.iter().flat_map(|spec| &spec.ports);
        let spans = ports.filter_map(|port| port.host);
        let services = specs.iter().flat_map(|spec| &spec.service);
        let zones = services.map(|s| &s.zone);
        let staying = app.routes.staying.values().flatten();
        Self {
            names: names.chain(app.routes.names.iter().cloned()).collect(),
            fixed: spans.flat_map(PortSpan::each).collect(),
            zones: zones.chain(staying).cloned().collect(),
        }
    }
}

/// Every spec an app runs by, did a moment ago, or is about to.
fn specs<'a>(state: &'a State, app: &'a App) -> impl Iterator<Item = &'a AppSpec> {
    let now = [app.wanted_spec(), app.live_spec(), app.routed_spec()];
    let coming = state.active_of(app).filter_map(|d| app.spec(d.version));
    now.into_iter().flatten().chain(coming).map(|spec| &**spec)
}

impl Index {
    /// From scratch.
    pub(crate) fn derive(state: &State) -> Self {
        let mut index = Self::default();
        for name in state.apps.keys() {
            index.take_app(state, name);
        }
        for instance in state.instances.values() {
            index.add_instance(instance);
            index.count(&instance.app, Tally::default(), Tally::of(state, instance));
        }
        for name in state.apps.keys() {
            index.take_busy(state, name);
        }
        for id in state.deployments.keys() {
            index.take_deployment(state, *id);
        }
        index
    }

    /// An app has come, changed or gone.
    pub(crate) fn take_app(&mut self, state: &State, name: &AppName) {
        let now = state.apps.get(name).map(|app| Claims::of(state, app));
        let now = Arc::new(now.unwrap_or_default());
        let before = self.claims.get(name).cloned().unwrap_or_default();
        if before == now && self.claims.contains_key(name) == state.apps.contains_key(name) {
            return;
        }
        self.names.change(name, &before.names, &now.names);
        self.fixed.change(name, &before.fixed, &now.fixed);
        self.zones.change(name, &before.zones, &now.zones);
        match state.apps.contains_key(name) {
            true => self.claims.insert(name.clone(), now),
            false => drop(self.claims.remove(name)),
        }
    }

    pub(crate) fn add_instance(&mut self, instance: &Instance) {
        for port in instance.ports.iter().flat_map(PortBinding::hosts) {
            self.ports.add(&port, &instance.id);
        }
    }

    pub(crate) fn remove_instance(&mut self, instance: &Instance) {
        for port in instance.ports.iter().flat_map(PortBinding::hosts) {
            self.ports.remove(&port, &instance.id);
        }
    }

    /// An instance of an app has changed.
    pub(crate) fn count(&mut self, app: &AppName, before: Tally, now: Tally) {
        let tally = self.tallies.get(app).copied().unwrap_or_default();
        let tally = Tally {
            live: tally.live + now.live - before.live,
            ailing: tally.ailing + now.ailing - before.ailing,
        };
        match tally == Tally::default() {
            true => drop(self.tallies.remove(app)),
            false => self.tallies.insert(app.clone(), tally),
        }
    }

    /// An app or its tally has changed.
    pub(crate) fn take_busy(&mut self, state: &State, name: &AppName) {
        let tally = self.tallies.get(name).copied().unwrap_or_default();
        match state.apps.get(name).is_some_and(|app| is_busy(app, tally)) {
            true => self.busy.insert(name.clone()),
            false => self.busy.remove(name),
        }
    }

    /// A deployment has changed, or whether it is the newest has.
    pub(crate) fn take_deployment(&mut self, state: &State, id: DeploymentId) {
        match state
            .deployments
            .get(&id)
            .is_some_and(|d| is_past(state, d))
        {
            true => self.past.insert(id),
            false => self.past.remove(&id),
        }
    }
}

/// Something is under way, or something is missing.
fn is_busy(app: &App, tally: Tally) -> bool {
    let routes = &app.routes;
    let settled = routes.cutovers.is_empty() && routes.leaving.is_empty() && app.active.is_empty();
    let spec = app.live_spec().filter(|_| !app.stopped);
    let ails = spec.is_some_and(|spec| tally.ailing > 0 || tally.live != spec.replicas);
    !settled || !routes.is_published() || ails
}

fn is_past(state: &State, d: &Deployment) -> bool {
    let newest = state.apps.get(&d.app).and_then(|app| app.newest);
    d.phase.is_over() && newest != Some(d.id)
}

/// Several owners of each thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Owners<K: Ord, V: Ord>(Map<K, Set<V>>);

impl<K: Ord, V: Ord> Default for Owners<K, V> {
    fn default() -> Self {
        Self(Map::new())
    }
}

impl<K: Ord + Clone, V: Ord + Clone> Owners<K, V> {
    /// Who has it, in order.
    pub(crate) fn of(&self, thing: &K) -> impl DoubleEndedIterator<Item = &V> {
        self.0.get(thing).into_iter().flat_map(Set::iter)
    }

    /// What anybody has, in order.
    pub(crate) fn things(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    fn change(&mut self, owner: &V, before: &BTreeSet<K>, now: &BTreeSet<K>) {
        for thing in before.difference(now) {
            self.remove(thing, owner);
        }
        for thing in now.difference(before) {
            self.add(thing, owner);
        }
    }

    fn add(&mut self, thing: &K, owner: &V) {
        match self.0.get_mut(thing) {
            Some(owners) => owners.insert(owner.clone()),
            None => self
                .0
                .insert(thing.clone(), [owner.clone()].into_iter().collect()),
        }
    }

    fn remove(&mut self, thing: &K, owner: &V) {
        let Some(owners) = self.0.get_mut(thing) else {
            return;
        };
        owners.remove(owner);
        if owners.is_empty() {
            self.0.remove(thing);
        }
    }
}
