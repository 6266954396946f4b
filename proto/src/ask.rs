//! What the leader asks a node, and the node answers once.

use serde::{Deserialize, Serialize};

use crate::ids::{AppName, ClusterId, InstanceId, Version};
use crate::time::Timestamp;

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
    /// Which images are there?
    Images,
    /// Fetch an image; the answer says how far that is, and asking again how far it is then.
    Pull {
        /// The image.
        image: String,
        /// False: only say how far it is.
        begin: bool,
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
    /// What is there.
    Images {
        /// At most [`MAX_ENTRIES`].
        images: Vec<NodeImage>,
        /// So many more.
        #[serde(default)]
        more: usize,
    },
    /// How far a pull is.
    Pull(Pull),
    /// It was done.
    Done,
}

/// An image on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeImage {
    /// The runtime's own id of it.
    pub id: String,
    /// Its names, like `registry.example/web:3`.
    pub tags: Vec<String>,
    /// Its names by digest, like `registry.example/web@sha256:…`.
    pub digests: Vec<String>,
    /// Bytes it takes, those it shares with others included.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// Whether some container, whosever, is made of it.
    pub used: bool,
    /// Versions of apps whose instances on the node are made of it, or will be.
    pub apps: Vec<ImageUse>,
}

/// Who needs an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ImageUse {
    /// The app.
    pub app: AppName,
    /// The version.
    pub version: Version,
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Pull {
    /// Under way.
    Pulling {
        /// How far, in words.
        told: String,
    },
    /// The image is there.
    Done {
        /// Its digest, as its registry knows it.
        digest: Option<String>,
    },
    /// It came to nothing.
    Failed {
        /// Why, and the way out.
        reason: String,
    },
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
