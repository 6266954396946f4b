//! The node's side of a session with a leader: whom it listens to. Remembers the highest it has heard and refuses what is lower.

use std::fmt;

use hancock_proto::assignment::Assignment;
use hancock_proto::ids::{ClusterId, Generation, NodeId, Term};
use hancock_proto::registry::Fence;
use serde::{Deserialize, Serialize};

/// What must survive a restart before anything it allowed is acted upon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The cluster this node belongs to. None: it never heard one.
    pub cluster: Option<ClusterId>,
    /// Highest term heard.
    pub term: Term,
    /// Generation of the stored assignment.
    pub generation: Generation,
}

/// Why a message is not listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// From another cluster than this node's.
    OtherCluster {
        /// This node's.
        have: ClusterId,
        /// The message's.
        got: ClusterId,
    },
    /// From a former leader.
    FormerTerm {
        /// Highest heard.
        have: Term,
        /// The message's.
        got: Term,
    },
    /// For another node.
    OtherNode {
        /// This node.
        have: NodeId,
        /// The one meant.
        got: NodeId,
    },
    /// Older than what is stored.
    FormerGeneration {
        /// Stored.
        have: Generation,
        /// The message's.
        got: Generation,
    },
    /// The frame and its body name different clusters or terms.
    Contradiction,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OtherCluster { have, got } => write!(
                f,
                "the master is of cluster {got}, this node belongs to {have}; to move the node, stop its instances and start it with an empty data directory"
            ),
            Refusal::FormerTerm { have, got } => {
                write!(f, "term {got} is over, term {have} was heard")
            }
            Refusal::OtherNode { have, got } => {
                write!(f, "the assignment is for node {got}, this is {have}")
            }
            Refusal::FormerGeneration { have, got } => {
                write!(f, "generation {got} is older than the stored {have}")
            }
            Refusal::Contradiction => {
                f.write_str("frame and assignment name different clusters or terms")
            }
        }
    }
}

impl Memory {
    /// Judges a message by its fence. True: the memory changed and must be stored before the message is acted upon.
    ///
    /// # Errors
    /// The reason it is not listened to.
    pub fn admit(&mut self, fence: &Fence) -> Result<bool, Refusal> {
        if let Some(have) = self.cluster.as_ref().filter(|c| **c != fence.cluster) {
            return Err(Refusal::OtherCluster {
                have: have.clone(),
                got: fence.cluster.clone(),
            });
        }
        if fence.term < self.term {
            return Err(Refusal::FormerTerm {
                have: self.term,
                got: fence.term,
            });
        }
        let changed = self.cluster.is_none() || fence.term > self.term;
        self.cluster = Some(fence.cluster.clone());
        self.term = fence.term;
        Ok(changed)
    }

    /// Judges an assignment whose fence was admitted, and remembers its generation.
    ///
    /// # Errors
    /// The reason it is not taken.
    pub fn take(
        &mut self,
        node: &NodeId,
        fence: &Fence,
        assignment: &Assignment,
    ) -> Result<(), Refusal> {
        if assignment.cluster != fence.cluster || assignment.term != fence.term {
            return Err(Refusal::Contradiction);
        }
        if assignment.node != *node {
            return Err(Refusal::OtherNode {
                have: node.clone(),
                got: assignment.node.clone(),
            });
        }
        if assignment.generation < self.generation {
            return Err(Refusal::FormerGeneration {
                have: self.generation,
                got: assignment.generation,
            });
        }
        self.generation = assignment.generation;
        Ok(())
    }
}
