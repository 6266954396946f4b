//! An instance as the master wants it, and the facts its node reported.

use hancock_proto::assignment::{Desired, PortBinding};
use hancock_proto::ids::{AppName, DeploymentId, DocIndex, InstanceId, NodeId, Version};
use hancock_proto::report::{InstanceReport, Life};
use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its app.
    pub app: AppName,
    /// The version it runs.
    pub version: Version,
    /// The version whose check, stop and restart rules hold for it; follows changes that need no new instance.
    pub rules: Version,
    /// Its node.
    pub node: NodeId,
    /// Its ports, in the order of the spec.
    pub ports: Vec<PortBinding>,
    /// What the master does with it.
    pub stage: Stage,
    /// Who asked for it.
    pub origin: Origin,
    /// When it was placed, by the leader's clock.
    pub placed_at: Timestamp,
    /// When its node last reported it ready after not being so.
    pub ready_at: Option<Timestamp>,
    /// When it was told to stop.
    pub ending_at: Option<Timestamp>,
    /// Index of the first documents with it; 0: never routed.
    pub joined: DocIndex,
    /// Index of the first documents without it, once it left them.
    pub left: Option<DocIndex>,
    /// How often it was asked to restart because its checks failed.
    #[serde(default)]
    pub restarts_asked: u32,
    /// Restarts its node had reported when it was asked last: one more, and it has done so.
    #[serde(default)]
    pub asked_after: Option<u32>,
    /// What its node observed.
    pub facts: InstanceReport,
    /// An operator wants another one in its place: it serves until that is ready, and counts as none meanwhile.
    #[serde(default)]
    pub replace: bool,
    /// Its node said before it served that it is made of what its version is. Of one that was not asked then, nothing is asked later: its node
    /// would stop it while it serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub image_confirmed: bool,
}

/// What the master does with an instance. Only forward, but for a deployment that is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Brought up, not routed yet.
    Starting,
    /// One of the app's replicas.
    Live,
    /// Retiring: running until balancers are through with it.
    Leaving,
    /// Told to stop.
    Ending,
}

/// Who asked for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A deployment.
    Deployment(DeploymentId),
    /// Replacement of a failed or lost instance.
    Healing,
}

impl Instance {
    /// What its node shall do with it.
    pub fn desired(&self) -> Desired {
        if self.stage == Stage::Ending {
            Desired::Stopped
        } else {
            Desired::Running
        }
    }

    /// Whether nothing will come after. One that stopped without having been told to is its agent's business: it will be started again.
    pub fn is_over(&self) -> bool {
        match self.facts.life {
            Life::Failed | Life::Rejected => true,
            Life::Stopped => self.stage == Stage::Ending,
            _ => false,
        }
    }

    /// Whether its node's balancer says it may get requests.
    pub fn is_ready(&self) -> bool {
        !self.is_over() && self.facts.ready.as_ref().is_some_and(|c| c.value)
    }

    /// Whether its checks fail for too long and nobody has asked it to restart since.
    pub fn is_ailing(&self) -> bool {
        let waits = self.asked_after == Some(self.facts.restarts);
        self.facts.ailing && self.facts.life == Life::Running && !waits
    }

    /// Whether it ended badly.
    pub fn has_failed(&self) -> bool {
        matches!(self.facts.life, Life::Failed | Life::Rejected)
    }
}
