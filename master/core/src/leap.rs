//! A state taken from the past goes on beyond everything its cluster may have said since.
//!
//! Nodes, balancers and registries refuse what is older than what they have heard. Whoever brings back an earlier state does not know
//! how far the cluster came after it, so every number others may have seen rises by [`LEAP`]: the relations between them stay, and
//! nothing of the lost time can be mistaken for something new.

use std::sync::Arc;

use hancock_proto::ids::{ClusterId, DocIndex, Generation, LogIndex, Revision};

use crate::state::{App, Choosing, Deployment, Index, Instance, Kept, Node, State};

/// More than any cluster writes between a snapshot and its return, and a million leaps fit.
pub const LEAP: u64 = 1_000_000_000;

impl State {
    /// Raises every number others may have seen by [`LEAP`]. Documents count as unpublished: they are written again.
    pub fn leap(&mut self) {
        self.term.0 += LEAP;
        self.leader = None;
        index(&mut self.applied);
        for counter in [
            &mut self.last_instance,
            &mut self.last_deployment,
            &mut self.last_event,
        ] {
            *counter += LEAP;
        }
        self.apps.edit_all(|app| leap_app(Arc::make_mut(app)));
        self.instances
            .edit_all(|instance| leap_instance(Arc::make_mut(instance)));
        self.nodes.edit_all(|node| leap_node(Arc::make_mut(node)));
        self.deployments
            .edit_all(|deployment| leap_deployment(Arc::make_mut(deployment)));
        leap_kept(&mut self.kept);
        self.registry.leap(LEAP);
        leap_choice(self);
        self.index = Index::derive(self);
    }
}

impl State {
    /// Goes on as another cluster with the same content. What stands outside belongs to the first one: it is let go of.
    pub fn split_off(&mut self, cluster: ClusterId) {
        self.cluster = Some(cluster);
        let number = self.choosing.newest().number;
        self.choosing = Choosing::default();
        self.choosing.now.number = number;
        self.registry.forget_fence();
    }
}

fn leap_app(app: &mut App) {
    let routes = &mut app.routes;
    doc(&mut routes.index);
    routes.published = DocIndex(0);
    revision(&mut routes.revision);
    routes.outside = None;
    for cutover in &mut routes.cutovers {
        doc(&mut cutover.index);
        // What drains already stays announced; all others wait for the registry again.
        if cutover.drain_at.is_none() {
            cutover.published_at = None;
        }
    }
    for leaving in routes.leaving.values_mut() {
        leaving.told = None;
    }
}

fn leap_instance(instance: &mut Instance) {
    doc(&mut instance.joined);
    instance.left.iter_mut().for_each(doc);
}

fn leap_node(node: &mut Node) {
    node.generation = Generation(node.generation.0 + LEAP);
    revision(&mut node.zoned);
    node.released
        .values_mut()
        .for_each(|released| doc(&mut released.index));
}

fn leap_deployment(deployment: &mut Deployment) {
    deployment.cutover.iter_mut().for_each(doc);
    index(&mut deployment.changed);
}

fn leap_kept(kept: &mut Kept) {
    kept.upstreams.edit_all(|upstream| doc(&mut upstream.index));
    kept.published = DocIndex(0);
    revision(&mut kept.revision);
}

/// A registry on the way in is filled again; the masters' own holds everything as it is.
fn leap_choice(state: &mut State) {
    let choosing = &mut state.choosing;
    choosing.now.number += LEAP;
    if let Some(next) = &mut choosing.next {
        next.to.number += LEAP;
        let embedded = next.to.url.is_embedded();
        next.filled = embedded.then(|| state.registry.revision());
    }
}

/// 0 means never, and stays so.
fn doc(at: &mut DocIndex) {
    if at.0 > 0 {
        at.0 += LEAP;
    }
}

fn revision(at: &mut Revision) {
    if at.0 > 0 {
        at.0 += LEAP;
    }
}

fn index(at: &mut LogIndex) {
    at.0 += LEAP;
}
