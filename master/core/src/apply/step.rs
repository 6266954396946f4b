//! One command being carried out: every change to the state goes through here, so that assignments and views follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::api::ApiError;
use hancock_proto::event::{Event, Level};
use hancock_proto::ids::{AppName, DeploymentId, DocIndex, InstanceId, LogIndex, NodeId};
use hancock_proto::time::Timestamp;

use super::sweep;
use crate::desired;
use crate::refuse;
use crate::state::{
    App, Deployment, Index, Instance, MAX_EVENTS, Node, NodeState, Stage, State, Tally,
};

/// The state while one command is applied.
pub(super) struct Step<'a> {
    pub(super) state: &'a mut State,
    pub(super) index: LogIndex,
    pub(super) at: Timestamp,
    /// Instances whose place in their node's assignment may have changed.
    touched: BTreeSet<(NodeId, InstanceId)>,
    /// Apps with instances that may have become removable.
    dirty: BTreeMap<AppName, Dirty>,
    /// Deployments that may have become past.
    ended: BTreeSet<DeploymentId>,
    /// Apps the leader may have to look at, or no longer.
    stirred: BTreeSet<AppName>,
    /// There is a new deployment: old ones may have to go.
    pub(super) requested: bool,
}

/// What may have become removable of an app.
#[derive(Default)]
struct Dirty {
    /// Any of its instances: the app itself has changed.
    whole: bool,
    /// These.
    instances: BTreeSet<InstanceId>,
}

/// What an event is about.
#[derive(Default)]
pub(super) struct About<'a> {
    pub(super) app: Option<&'a AppName>,
    pub(super) deployment: Option<DeploymentId>,
    pub(super) instance: Option<&'a InstanceId>,
    pub(super) node: Option<&'a NodeId>,
}

impl<'a> Step<'a> {
    pub(super) fn new(state: &'a mut State, index: LogIndex) -> Self {
        let at = state.clock;
        Self {
            state,
            index,
            at,
            touched: BTreeSet::new(),
            dirty: BTreeMap::new(),
            ended: BTreeSet::new(),
            stirred: BTreeSet::new(),
            requested: false,
        }
    }

    /// The index documents get that change by this command.
    pub(super) fn doc(&self) -> DocIndex {
        DocIndex(self.index.0)
    }

    pub(super) fn app(&self, name: &AppName) -> Result<Arc<App>, ApiError> {
        let found = self.state.apps.get(name).cloned();
        found.ok_or_else(|| refuse::app_not_found(name))
    }

    pub(super) fn deployment(&self, id: DeploymentId) -> Result<Arc<Deployment>, ApiError> {
        let found = self.state.deployments.get(&id).cloned();
        found.ok_or_else(|| refuse::deployment_not_found(id))
    }

    pub(super) fn edit_app(&mut self, name: &AppName, edit: impl FnOnce(&mut App)) {
        if let Some(app) = self.state.apps.get_mut(name) {
            edit(Arc::make_mut(app));
            self.app_changed(name);
        }
    }

    fn app_changed(&mut self, name: &AppName) {
        self.dirty.entry(name.clone()).or_default().whole = true;
        self.stirred.insert(name.clone());
    }

    pub(super) fn insert_app(&mut self, app: App) {
        self.app_changed(&app.name);
        self.state.apps.insert(app.name.clone(), Arc::new(app));
    }

    pub(super) fn remove_app(&mut self, name: &AppName) {
        self.app_changed(name);
        let gone = self.state.apps.remove(name);
        self.ended.extend(gone.and_then(|app| app.newest));
    }

    pub(super) fn insert_deployment(&mut self, deployment: Deployment) {
        let newest = self.state.apps.get(&deployment.app).and_then(|a| a.newest);
        self.ended.extend(newest);
        self.requested = true;
        let id = deployment.id;
        self.state.deployments.insert(id, Arc::new(deployment));
    }

    pub(super) fn edit_deployment(&mut self, id: DeploymentId, edit: impl FnOnce(&mut Deployment)) {
        if let Some(deployment) = self.state.deployments.get_mut(&id) {
            let deployment = Arc::make_mut(deployment);
            edit(deployment);
            deployment.changed = self.index;
            self.ended.insert(id);
        }
    }

    pub(super) fn edit_instance(&mut self, id: &InstanceId, edit: impl FnOnce(&mut Instance)) {
        let before = self.tally(id);
        if let Some(instance) = self.state.instances.get_mut(id) {
            let instance = Arc::make_mut(instance);
            edit(instance);
            let app = instance.app.clone();
            self.touched.insert((instance.node.clone(), id.clone()));
            let dirty = self.dirty.entry(app.clone()).or_default();
            dirty.instances.insert(id.clone());
            self.count(&app, before, self.tally(id));
        }
    }

    fn tally(&self, id: &InstanceId) -> Tally {
        let known = self.state.instances.get(id);
        known.map(|i| Tally::of(self.state, i)).unwrap_or_default()
    }

    fn count(&mut self, app: &AppName, before: Tally, now: Tally) {
        if before != now {
            self.state.index.count(app, before, now);
            self.stirred.insert(app.clone());
        }
    }

    /// A node is lost, or no longer.
    pub(super) fn set_node_state(&mut self, id: &NodeId, to: NodeState) -> Result<(), ApiError> {
        let node = self.state.nodes.get(id).cloned();
        let node = node.ok_or_else(|| refuse::outdated(format!("node {id}")))?;
        let before: Vec<_> = node.assigned.keys().map(|id| self.tally(id)).collect();
        self.edit_node(id, |node| node.state = to);
        for (id, before) in node.assigned.keys().zip(before) {
            let app = self.state.instances.get(id).map(|i| i.app.clone());
            let now = self.tally(id);
            app.iter().for_each(|app| self.count(app, before, now));
        }
        Ok(())
    }

    fn edit_node(&mut self, id: &NodeId, edit: impl FnOnce(&mut Node)) {
        if let Some(node) = self.state.nodes.get_mut(id) {
            edit(Arc::make_mut(node));
        }
    }

    pub(super) fn insert_instance(&mut self, instance: Instance) {
        let id = instance.id.clone();
        self.touched.insert((instance.node.clone(), id.clone()));
        self.edit_app(&instance.app.clone(), |app| {
            app.instances.insert(id.clone());
        });
        let app = instance.app.clone();
        self.state.index.add_instance(&instance);
        self.state.instances.insert(id.clone(), Arc::new(instance));
        self.count(&app, Tally::default(), self.tally(&id));
    }

    pub(super) fn remove_instance(&mut self, id: &InstanceId) -> Option<Arc<Instance>> {
        let before = self.tally(id);
        let gone = self.state.instances.remove(id)?;
        self.count(&gone.app, before, Tally::default());
        self.touched.insert((gone.node.clone(), id.clone()));
        self.state.index.remove_instance(&gone);
        self.edit_app(&gone.app, |app| {
            app.instances.remove(id);
        });
        Some(gone)
    }

    /// Tells an instance to stop; it leaves the state when it has.
    pub(super) fn end_instance(&mut self, id: &InstanceId) {
        let at = self.at;
        self.edit_instance(id, |instance| {
            if instance.stage != Stage::Ending {
                instance.stage = Stage::Ending;
                instance.ending_at = Some(at);
            }
        });
    }

    pub(super) fn event(&mut self, level: Level, kind: &str, about: About<'_>, message: String) {
        self.state.last_event += 1;
        let event = Event {
            number: self.state.last_event,
            index: self.index,
            at: self.at,
            level,
            kind: kind.to_owned(),
            app: about.app.cloned(),
            deployment: about.deployment,
            instance: about.instance.cloned(),
            node: about.node.cloned(),
            message,
        };
        let events = &mut self.state.events;
        events.push(Arc::new(event));
        events.excess(MAX_EVENTS);
    }

    /// Removes what is gone and brings assignments up to date. A generation rises only when something really changed.
    pub(super) fn finish(mut self) {
        for (app, dirty) in std::mem::take(&mut self.dirty) {
            let touched = Some(&dirty.instances).filter(|_| !dirty.whole);
            sweep::sweep(&mut self, &app, touched);
            self.mark_deployments(&app);
            self.reindex(dirty.whole, &app);
        }
        // Those that lost an instance just now.
        for app in std::mem::take(&mut self.dirty).into_keys() {
            self.reindex(true, &app);
        }
        for id in std::mem::take(&mut self.ended) {
            self.index(|index, state| index.take_deployment(state, id));
        }
        for app in std::mem::take(&mut self.stirred) {
            self.index(|index, state| index.take_busy(state, &app));
        }
        if self.requested {
            sweep::deployments(&mut self);
        }
        let mut changed = BTreeSet::new();
        for (node, instance) in std::mem::take(&mut self.touched) {
            if self.reassign(&node, &instance) {
                changed.insert(node);
            }
        }
        for node in changed {
            if let Some(node) = self.state.nodes.get_mut(&node) {
                let node = Arc::make_mut(node);
                node.generation = node.generation.next();
            }
        }
    }

    fn reindex(&mut self, whole: bool, app: &AppName) {
        if whole {
            self.index(|index, state| index.take_app(state, app));
        }
    }

    fn index(&mut self, take: impl FnOnce(&mut Index, &State)) {
        let mut index = std::mem::take(&mut self.state.index);
        take(&mut index, self.state);
        self.state.index = index;
    }

    /// Deployments that are not over show their instances: readers that wait for a change have one.
    fn mark_deployments(&mut self, app: &AppName) {
        let active = self.state.apps.get(app).map(|a| a.active.clone());
        for id in active.unwrap_or_default() {
            self.edit_deployment(id, |_| ());
        }
    }

    /// Whether the instance's entry in its node's assignment changed.
    fn reassign(&mut self, node: &NodeId, id: &InstanceId) -> bool {
        let instance = self.state.instances.get(id);
        let wanted = instance.and_then(|i| desired::assigned(self.state, i));
        let Some(node) = self.state.nodes.get_mut(node) else {
            return false;
        };
        if node.assigned.get(id).map(|a| &**a) == wanted.as_ref() {
            return false;
        }
        let assigned = &mut Arc::make_mut(node).assigned;
        match wanted {
            Some(wanted) => assigned.insert(id.clone(), Arc::new(wanted)),
            None => drop(assigned.remove(id)),
        }
        true
    }
}
