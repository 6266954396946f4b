//! What a runtime shows of its containers: facts, in our words.

use std::fmt;

use hancock_proto::ids::{AppName, ClusterId, InstanceId, NodeId, Version};
use hancock_proto::time::Timestamp;
use hancock_proto::units::Span;
use serde::{Deserialize, Serialize};

/// Whose a container is. A node touches only its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

/// One container (or process) as a runtime shows it. Everything needed to end it travels with it, so that one that is no longer
/// assigned can still be stopped the way its owner asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Whose it is.
    pub owner: Owner,
    /// The instance it is.
    pub instance: InstanceId,
    /// Its app.
    pub app: AppName,
    /// Version it runs.
    pub version: Version,
    /// How it is stopped.
    pub stop: StopRule,
    /// Host ports it was given.
    pub host_ports: Vec<u16>,
    /// Folders of the host it may write to, as far as the runtime tells.
    #[serde(default)]
    pub folders: Vec<String>,
    /// How it is.
    pub state: State,
    /// Digest of the image it was made of, as a registry knows it. None: it has none.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// What the image's own check says. None: it has none, or nobody asks it.
    #[serde(default)]
    pub health: Option<Health>,
}

/// What the check of a container's image says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing yet.
    Starting,
    /// Good.
    Healthy,
    /// Failed, so often in a row that it counts.
    Unhealthy {
        /// What the last one said.
        reason: String,
        /// Failures it takes.
        retries: u32,
        /// Time between checks.
        interval: Span,
    },
}

impl Observed {
    /// Whether it is up.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }
}

/// How a container is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRule {
    /// First signal, as "SIGTERM".
    pub signal: String,
    /// Time between the signal and SIGKILL.
    pub grace: Span,
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There, but never started.
    Created,
    /// Up.
    Running {
        /// Since when. None: the runtime does not say.
        since: Option<Timestamp>,
    },
    /// Ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: Ending,
    /// Its last log lines, where somebody fetched them.
    #[serde(default)]
    pub tail: Vec<String>,
}

/// The way a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It used more memory than it may.
    OutOfMemory,
    /// Nobody saw it: the machine restarted, or whoever looked after it was killed.
    Unseen,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Code(code) => write!(f, "exited with code {code}"),
            Ending::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Ending::OutOfMemory => f.write_str("used more memory than it may and was ended"),
            Ending::Unseen => f.write_str("ended unseen"),
        }
    }
}
