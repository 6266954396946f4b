//! The replicated state: what every master holds after applying the same commands.
//!
//! Collections are persistent and entities live behind [`Arc`]: a clone takes the same moment however many there are, and an apply copies
//! only what it changes.

mod app;
mod choosing;
mod deployment;
mod index;
mod instance;
mod kept;
mod node;
mod writers;
mod zones;

use std::sync::Arc;

use hancock_proto::event::Event;
use hancock_proto::ids::{
    AppName, ClusterId, DeploymentId, Generation, InstanceId, LogIndex, NodeId, Term, ZoneName,
};
use hancock_proto::persistent::{Map, Recent};
use hancock_proto::registry::Store;
use hancock_proto::time::Timestamp;
use hancock_proto::zone::Zone;
use serde::{Deserialize, Serialize};

use crate::format::Format;

pub use app::{App, AppVersion, Cutover, Elsewhere, LettingGo, Routes};
pub use choosing::{Choosing, Switch};
pub use deployment::{Deployment, Kind, Phase};
pub(crate) use index::{Index, Tally};
pub use instance::{Instance, Origin, Stage};
pub use kept::{Kept, KeptUpstream};
pub use node::{Assigned, Node, NodeState, Released};
pub(crate) use writers::{is_single_writer, writer_here, written};
pub(crate) use zones::Carry;

/// Events kept for readers.
pub const MAX_EVENTS: usize = 4096;
/// Versions kept per app, besides those in use.
pub const MAX_VERSIONS: usize = 50;
/// Finished deployments kept per cluster.
pub const MAX_DEPLOYMENTS: usize = 512;
/// Instances that ended badly, kept to be shown after they are gone.
pub const MAX_DEPARTED: usize = 256;

/// Everything replicated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The cluster; None: nothing was ever applied.
    pub cluster: Option<ClusterId>,
    /// Highest leader's clock seen. Time never goes back in here.
    pub clock: Timestamp,
    /// Highest term started.
    pub term: Term,
    /// Who leads it.
    pub leader: Option<String>,
    /// Last applied log index.
    pub applied: LogIndex,
    /// Apps by name.
    pub apps: Map<AppName, Arc<App>>,
    /// Instances by id, from placement until they are gone.
    pub instances: Map<InstanceId, Arc<Instance>>,
    /// Nodes by name: who must confirm.
    pub nodes: Map<NodeId, Arc<Node>>,
    /// Zones by name, but for the default one as long as it is as it always was.
    #[serde(default)]
    pub zones: Map<ZoneName, Zone>,
    /// Deployments, the newest [`MAX_DEPLOYMENTS`] finished ones included.
    pub deployments: Map<DeploymentId, Arc<Deployment>>,
    /// Instances that failed and are gone, oldest first.
    pub departed: Recent<Arc<Instance>>,
    /// Newest events, oldest first.
    pub events: Recent<Arc<Event>>,
    /// Upstreams no app owns.
    #[serde(default)]
    pub kept: Kept,
    /// Which registry is in force besides the embedded one.
    #[serde(default)]
    pub choosing: Choosing,
    /// The embedded registry.
    pub registry: Store,
    /// Highest number given to an instance; never used again.
    pub last_instance: u64,
    /// Highest number given to a deployment; never used again.
    pub last_deployment: u64,
    /// Highest number given to an event; never used again.
    pub last_event: u64,
    /// What is written from here on, snapshots of this state included: their format is stored in front of them.
    #[serde(skip)]
    pub format: Format,
    /// Who has what, maintained; derived when a snapshot is read.
    #[serde(skip)]
    pub(crate) index: Index,
}

impl State {
    /// A cluster that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The generation of a node's assignment; 0 for a node that is not registered.
    pub fn generation(&self, node: &NodeId) -> Generation {
        self.nodes
            .get(node)
            .map(|n| n.generation)
            .unwrap_or_default()
    }

    /// The app's instances, by id.
    pub fn instances_of<'a>(
        &'a self,
        app: &'a App,
    ) -> impl Iterator<Item = &'a Arc<Instance>> + 'a {
        app.instances.iter().filter_map(|id| self.instances.get(id))
    }

    /// The app's deployments that are not over, oldest first.
    pub fn active_of<'a>(&'a self, app: &'a App) -> impl Iterator<Item = &'a Arc<Deployment>> + 'a {
        app.active.iter().filter_map(|id| self.deployments.get(id))
    }

    /// Whether the node is known and lost.
    pub fn is_lost(&self, node: &NodeId) -> bool {
        self.nodes
            .get(node)
            .is_none_or(|n| n.state == NodeState::Lost)
    }
}
