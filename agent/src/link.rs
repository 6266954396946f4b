//! The seam to the leader: a session of messages both ways. Whom to believe is the core's business, not the link's.

pub mod channel;
pub mod grpc;

use async_trait::async_trait;
use hancock_proto::hub::{AgentMessage, Hello, HubMessage};
use hancock_proto::registry::Fence;
use tokio::sync::mpsc;

/// Messages that may wait in one direction. Full: the sender waits.
pub const QUEUE: usize = 64;

/// A way to a leader.
#[async_trait]
pub trait MasterLink: Send + Sync {
    /// Opens a session; `hello` is its first message.
    ///
    /// # Errors
    /// Nobody answers, or they refuse. Trying again is the caller's business.
    async fn open(&self, hello: Hello) -> Result<Session, LinkError>;
}

/// One open session.
#[derive(Debug)]
pub struct Session {
    /// To the leader. Closed when the session is lost.
    pub out: mpsc::Sender<AgentMessage>,
    /// From the leader; its end means the session is lost.
    pub inbox: mpsc::Receiver<(Fence, HubMessage)>,
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
    /// They answered, and refused.
    #[error("the master refuses this node: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
}
