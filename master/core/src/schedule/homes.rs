//! Named volumes stay on the node where an instance first had them: whoever comes next goes where they are.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::app::AppSpec;
use hancock_proto::ids::NodeId;

use super::Misfit;
use crate::state::State;

/// The named volumes of a spec that are somewhere already, and where.
pub(super) struct Homes<'a>(Vec<(&'a str, &'a BTreeSet<NodeId>)>);

impl<'a> Homes<'a> {
    pub(super) fn of(state: &'a State, spec: &'a AppSpec) -> Self {
        let Some(app) = state.apps.get(&spec.app) else {
            return Self(Vec::new());
        };
        let volumes = &app.volumes;
        let each = spec.named_volumes();
        Self(
            each.filter_map(|name| Some((name, volumes.get(name)?)))
                .collect(),
        )
    }

    /// Refuses every node but theirs, as long as one of theirs has no instance of the same set: only then there is need of another.
    pub(super) fn fit(&self, node: &NodeId, peers: &BTreeMap<NodeId, u32>) -> Result<(), Misfit> {
        for (name, nodes) in &self.0 {
            let is_idle = |home: &NodeId| nodes.contains(home) && !peers.contains_key(home);
            let idle = nodes.iter().find(|home| is_idle(home));
            if let Some(home) = idle.filter(|_| !is_idle(node)) {
                return Err(Misfit::Volume {
                    name: (*name).to_owned(),
                    home: home.clone(),
                });
            }
        }
        Ok(())
    }

    /// What is told of a node that was chosen.
    pub(super) fn told(&self, node: &NodeId) -> String {
        let here = self.0.iter().filter(|(_, nodes)| nodes.contains(node));
        let here: Vec<_> = here.map(|(name, _)| *name).collect();
        match here.as_slice() {
            [] => String::new(),
            names => format!("; volume {} is there", names.join(", ")),
        }
    }
}
