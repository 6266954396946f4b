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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use super::*;

    fn fence(cluster: &str, term: u64) -> Fence {
        Fence {
            cluster: cluster.parse().unwrap(),
            term: Term(term),
        }
    }

    fn assignment(fence: &Fence, node: &str, generation: u64) -> Assignment {
        Assignment {
            cluster: fence.cluster.clone(),
            term: fence.term,
            node: node.parse().unwrap(),
            generation: Generation(generation),
            instances: BTreeMap::new(),
        }
    }

    #[test]
    fn the_highest_term_rules() {
        let mut memory = Memory::default();
        assert_eq!(memory.admit(&fence("c1", 3)), Ok(true));
        assert_eq!(memory.admit(&fence("c1", 3)), Ok(false));
        assert!(matches!(
            memory.admit(&fence("c1", 2)),
            Err(Refusal::FormerTerm { .. })
        ));
        assert_eq!(memory.admit(&fence("c1", 5)), Ok(true));
        assert_eq!(memory.term, Term(5));
    }

    #[test]
    fn another_cluster_is_refused_whatever_its_term() {
        let mut memory = Memory::default();
        memory.admit(&fence("c1", 3)).unwrap();
        let refusal = memory.admit(&fence("c2", 9)).unwrap_err();
        assert!(refusal.to_string().contains("empty data directory"));
        assert_eq!(memory.term, Term(3));
    }

    #[test]
    fn generations_do_not_go_back_not_even_with_a_new_term() {
        let (mut memory, node) = (Memory::default(), "n1".parse().unwrap());
        let (old, new) = (fence("c1", 3), fence("c1", 4));
        memory.admit(&old).unwrap();
        memory
            .take(&node, &old, &assignment(&old, "n1", 7))
            .unwrap();
        memory.admit(&new).unwrap();
        let stale = memory.take(&node, &new, &assignment(&new, "n1", 6));
        assert!(matches!(stale, Err(Refusal::FormerGeneration { .. })));
        memory
            .take(&node, &new, &assignment(&new, "n1", 7))
            .unwrap();
        assert_eq!(memory.generation, Generation(7));
    }

    #[test]
    fn a_strangers_or_contradictory_assignment_is_refused() {
        let (mut memory, node) = (Memory::default(), "n1".parse().unwrap());
        let fence = fence("c1", 3);
        let other = memory.take(&node, &fence, &assignment(&fence, "n2", 1));
        assert!(matches!(other, Err(Refusal::OtherNode { .. })));
        let mut wrong = assignment(&fence, "n1", 1);
        wrong.term = Term(2);
        let wrong = memory.take(&node, &fence, &wrong);
        assert_eq!(wrong, Err(Refusal::Contradiction));
        assert_eq!(memory, Memory::default());
    }
}
