//! A deployment: one way from what serves to what is wanted.

use std::collections::BTreeSet;

use hancock_proto::ids::{AppName, DeploymentId, DocIndex, InstanceId, LogIndex, Version};
use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The app.
    pub app: AppName,
    /// Version it brings.
    pub version: Version,
    /// What serves before it is promoted; None: nothing.
    pub from: Option<Version>,
    /// What it does.
    pub kind: Kind,
    /// How far it is.
    pub phase: Phase,
    /// Since when it is in this phase.
    pub since: Timestamp,
    /// When it began.
    pub started: Timestamp,
    /// When something last moved forward.
    pub progress: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How many instances it brings.
    pub brings: u32,
    /// How many of its instances were rejected by their nodes and placed again.
    #[serde(default)]
    pub rejected: u32,
    /// Instances it brings.
    pub new: BTreeSet<InstanceId>,
    /// Instances it replaces or removes; known once it is promoted, or begins to clear the way.
    pub old: BTreeSet<InstanceId>,
    /// Its cutover, once promoted; the cutover back, once failing; the one that clears the way, before.
    pub cutover: Option<DocIndex>,
    /// Failing because an owner aborted it.
    pub aborting: bool,
    /// Why it ended so.
    pub reason: String,
    /// Log index of the last change to it or to one of its instances.
    pub changed: LogIndex,
}

/// What a deployment does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// First instances of an app.
    Create,
    /// A second set takes over.
    Replace,
    /// A second set of the same version takes over.
    Restart,
    /// Instances are added or removed, none replaced.
    Scale,
    /// Only what balancers see changes.
    Reroute,
    /// All instances go, the app stays.
    Stop,
    /// A stopped app's instances come back.
    Start,
    /// All instances, documents and the app go.
    Delete,
}

impl Kind {
    /// Nothing comes in the place of what goes. An end is not taken back, and does not fail.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Stop | Self::Delete)
    }
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Another deployment of the app has to get out of the way first.
    Queued,
    /// What runs has to be stopped first.
    Clearing,
    /// Nodes are looked for.
    Placing,
    /// The new instances are on their way to ready.
    Starting,
    /// The documents are written, balancers switch over.
    Promoting,
    /// Balancers have switched; old instances finish what is open.
    Draining,
    /// Old instances were told to stop.
    Stopping,
    /// The documents go back; the new instances leave.
    Failing,
    /// Over: as wanted.
    Successful,
    /// Over: undone.
    Failed,
    /// Over: undone on demand.
    Aborted,
    /// Over: a newer wish came first.
    Superseded,
}

impl Phase {
    /// Whether nothing comes after it.
    pub fn is_over(self) -> bool {
        self >= Phase::Successful
    }

    /// Whether the documents do not yet speak of it.
    pub fn before_promotion(self) -> bool {
        self <= Phase::Starting
    }

    /// Whether it keeps the next deployment of the app from starting.
    pub fn blocks(self) -> bool {
        matches!(
            self,
            Phase::Clearing | Phase::Placing | Phase::Starting | Phase::Promoting | Phase::Failing
        )
    }

    /// The word shown to people.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Queued => "queued",
            Phase::Clearing => "clearing",
            Phase::Placing => "placing",
            Phase::Starting => "starting",
            Phase::Promoting => "promoting",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
            Phase::Failing => "failing",
            Phase::Successful => "successful",
            Phase::Failed => "failed",
            Phase::Aborted => "aborted",
            Phase::Superseded => "superseded",
        }
    }
}
