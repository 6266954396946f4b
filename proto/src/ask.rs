//! What the leader asks a node, and the node answers once.

use serde::{Deserialize, Serialize};

use crate::ids::{AppName, ClusterId, InstanceId, Version};

/// Most entries in one answer.
pub const MAX_ENTRIES: usize = 1000;

/// A question, or an order whose outcome is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// What of ours is there that no assignment of this cluster knows?
    Orphans,
    /// Remove what is there of another cluster; this one's own is refused.
    Purge {
        /// That cluster.
        cluster: ClusterId,
    },
    /// Send an instance a signal; what comes of it is the app's business, and the agent's when it ends.
    Signal {
        /// The instance.
        instance: InstanceId,
        /// Like "SIGHUP".
        signal: String,
    },
}

/// Answers a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// What is there, or was removed.
    Orphans {
        /// At most [`MAX_ENTRIES`].
        orphans: Vec<Orphan>,
        /// So many more.
        #[serde(default)]
        more: usize,
    },
    /// It was done.
    Done,
}

/// A container, or process, that carries this node's name and that no assignment knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Orphan {
    /// The cluster that began it.
    pub cluster: ClusterId,
    /// The instance it was.
    pub instance: InstanceId,
    /// Its app.
    pub app: AppName,
    /// Its version.
    pub version: Version,
    /// Whether it runs.
    pub running: bool,
    /// It is of the node's own cluster: the node removes it by itself, after a grace period.
    pub own: bool,
}
