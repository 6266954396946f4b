//! The seam to the masters: a session of messages both ways. Whom to ask and whom to believe is the core's business, not the link's.

mod certificate;
pub mod channel;
pub mod dial;
pub mod grpc;

use async_trait::async_trait;
use hancock_agent_core::search::Outcome;
use hancock_proto::hub::{AgentMessage, Hello, HubMessage};
use hancock_proto::registry::Fence;
use tokio::sync::mpsc;

/// Messages that may wait in one direction. Full: the sender waits.
pub const QUEUE: usize = 64;

/// A way to the masters.
#[async_trait]
pub trait MasterLink: Send + Sync {
    /// Opens a session with the master at `at` (HOST:PORT; empty where there is only one); `hello` is its first message.
    ///
    /// # Errors
    /// Nobody answers, or they refuse. Trying again, there or elsewhere, is the caller's business.
    async fn open(&self, at: &str, hello: Hello) -> Result<Session, LinkError>;
}

/// One open session.
#[derive(Debug)]
pub struct Session {
    /// To the leader. Closed when the session is lost.
    pub out: mpsc::Sender<AgentMessage>,
    /// From the leader. An error is the last thing that comes; an end without one means the session is lost, too.
    pub inbox: mpsc::Receiver<Result<(Fence, HubMessage), LinkError>>,
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nobody answers.
    #[error("cannot reach the master: {reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// They answered, and another one leads.
    #[error("the leader is at {leader}")]
    Elsewhere {
        /// HOST:PORT of the leader.
        leader: String,
    },
    /// They answered, and refused.
    #[error("the master refuses this node: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
}

impl From<&LinkError> for Outcome {
    fn from(error: &LinkError) -> Self {
        match error {
            LinkError::Unreachable { .. } => Self::Lost,
            LinkError::Refused { .. } => Self::Refused,
            LinkError::Elsewhere { leader } => Self::Elsewhere {
                leader: leader.clone(),
            },
        }
    }
}
