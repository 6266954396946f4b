//! The words between an agent and the leader. The fence (cluster, term) travels beside them in the frame.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ask::{Answer, Question};
use crate::assignment::Assignment;
use crate::exec::{FromCommand, ToCommand};
use crate::ids::{BootId, Generation, InstanceId, NodeId, Revision, ZoneName};
use crate::registry::{Change, Choice, Listing};
use crate::report::Report;
use crate::resources::{NodeInfo, Offer};
use crate::time::Timestamp;

/// Agent to leader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentMessage {
    /// First message of a session.
    Hello(Hello),
    /// Everything observed, whole; replaces all before.
    Report(Report),
    /// Every few seconds; also the heartbeat that renews the node's lease.
    Offer(Offer),
    /// A piece of an instance's log, answering [`HubMessage::Logs`].
    Logs(LogChunk),
    /// Answers a question.
    Answer {
        /// The question.
        id: u64,
        /// The answer, or why there is none.
        answer: Result<Answer, String>,
    },
    /// What a command run inside an instance says.
    Exec {
        /// The command.
        id: u64,
        /// What.
        word: FromCommand,
    },
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// What the node is and has.
    pub info: NodeInfo,
    /// This start of the daemon.
    pub boot: BootId,
    /// Highest generation on disk.
    pub generation: Generation,
    /// Registry revision the balancer's watch reached; None: list first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Revision>,
    /// Commands inside instances may run as another user, elsewhere and with more environment than those.
    #[serde(default)]
    pub surroundings: bool,
}

/// Leader to agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HubMessage {
    /// Everything the node shall run.
    Assignment(Assignment),
    /// Where agents find the masters, HOST:PORT: whom to ask when this one leads no more.
    Masters {
        /// Those of the voters first.
        agents: Vec<String>,
    },
    /// The embedded registry, whole.
    RegistryList(Listing),
    /// Changes of the embedded registry since the last message, up to `revision`.
    RegistryChanges {
        /// Where the watch is after these.
        revision: Revision,
        /// Oldest first.
        changes: Vec<Change>,
    },
    /// The registry to follow beside this session, and what of it is for this node.
    Registry {
        /// Which.
        choice: Choice,
        /// Documents of these zones.
        zones: BTreeSet<ZoneName>,
        /// The leader waits for a report from there on; None: not yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filled: Option<Revision>,
    },
    /// Send an instance's log.
    Logs(LogRequest),
    /// Stop sending the log asked for as `id`.
    LogsEnd {
        /// The request.
        id: u64,
    },
    /// A question, to be answered once.
    Ask {
        /// Chosen by the leader, unique within the session.
        id: u64,
        /// What is asked.
        question: Question,
    },
    /// Run a command inside an instance, and what to tell it.
    Exec {
        /// Chosen by the leader, unique within the session.
        id: u64,
        /// What.
        word: ToCommand,
    },
}

/// Which log, from where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRequest {
    /// Chosen by the leader, unique within the session.
    pub id: u64,
    /// The instance.
    pub instance: InstanceId,
    /// Go on with new lines.
    pub follow: bool,
    /// Only the last so many lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<usize>,
    /// Only lines from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Lines of one log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogChunk {
    /// The request.
    pub id: u64,
    /// Lines in order.
    pub lines: Vec<LogLine>,
    /// No more will come; with the reason when it was an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Result<(), String>>,
}

/// One line an instance printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// The instance.
    pub instance: InstanceId,
    /// When it was printed.
    pub at: Timestamp,
    /// Standard output or standard error.
    pub stream: Stream,
    /// The text without its line end.
    pub text: String,
}

/// Where a line was printed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A daemon's name in logs and errors.
impl std::fmt::Display for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let node: &NodeId = &self.info.node;
        write!(f, "node {node} boot {}", self.boot)
    }
}
