//! Who writes to volumes that have a single writer: an instance holds its volumes on its node until the node has said that it is over.

use hancock_proto::app::writers::{clash, spoken};
use hancock_proto::app::{AppSpec, Volume};
use hancock_proto::ids::{AppName, InstanceId, NodeId};

use super::{Instance, State};

/// Whether an instance has a volume nobody else may write to.
pub(crate) fn is_single_writer(state: &State, instance: &Instance) -> bool {
    spec(state, instance).is_some_and(AppSpec::has_single_writer)
}

/// Who keeps an instance with these volumes from running on a node, and by which of them.
pub(crate) fn writer_here<'a>(
    state: &'a State,
    node: &NodeId,
    app: &AppName,
    volumes: &[Volume],
) -> Option<(&'a InstanceId, String)> {
    let here = state.nodes.get(node)?.assigned.keys();
    let mut here = here.filter_map(|id| state.instances.get(id));
    here.find_map(|other| {
        let theirs = written(state, other)?;
        let volume = clash((app, volumes), (&other.app, theirs))?;
        Some((&other.id, spoken(volume)))
    })
}

/// The volumes an instance holds. None: it is over, or has none.
pub(crate) fn written<'a>(state: &'a State, instance: &Instance) -> Option<&'a [Volume]> {
    let spec = spec(state, instance).filter(|_| !instance.is_over())?;
    (!spec.volumes.is_empty()).then_some(&*spec.volumes)
}

fn spec<'a>(state: &'a State, instance: &Instance) -> Option<&'a AppSpec> {
    let app = state.apps.get(&instance.app)?;
    app.spec(instance.version).map(|spec| &**spec)
}
