//! A registered node. It stays registered whatever happens to it: who must confirm does not depend on open streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::assignment::AssignedInstance;
use hancock_proto::ids::{AppName, BootId, DocIndex, Generation, InstanceId, Revision};
use hancock_proto::persistent::Map;
use hancock_proto::resources::{NodeInfo, Usage};
use hancock_proto::service::ServiceName;
use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What one node shall run.
pub type Assigned = Map<InstanceId, Arc<AssignedInstance>>;

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it is and has.
    pub info: NodeInfo,
    /// The start of its daemon that is known.
    pub boot: BootId,
    /// Sequence of the last report applied of this boot.
    pub sequence: u64,
    /// Alive or lost.
    pub state: NodeState,
    /// When it was registered first.
    pub joined: Timestamp,
    /// Counts changes of its assignment.
    pub generation: Generation,
    /// Its assignment, maintained; rebuilt when a snapshot is read.
    #[serde(skip)]
    pub assigned: Assigned,
    /// Revision of the registry since which it belongs to the zones it is in now.
    #[serde(default)]
    pub zoned: Revision,
    /// Host ports given back, with the time: allocation takes the one free for longest.
    pub released: BTreeMap<u16, Released>,
}

impl Node {
    /// What its instances have reserved.
    pub fn used(&self) -> Usage {
        let assigned = self.assigned.values();
        assigned.fold(Usage::default(), |sum, a| sum.plus(&a.run.resources))
    }
}

/// Whether replacements are placed for a node's instances. A link cut for a moment is neither: that is in the leader's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Heard of, or silent for less than it takes to be lost.
    Alive,
    /// Silent for too long.
    Lost,
}

/// A host port that was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// When.
    pub at: Timestamp,
    /// The app that had it.
    pub app: AppName,
    /// The instance that had it.
    pub instance: InstanceId,
    /// Index of the first documents without the instance; 0: it never was in any.
    pub index: DocIndex,
    /// Services whose balancers may remember it.
    pub names: BTreeSet<ServiceName>,
}
