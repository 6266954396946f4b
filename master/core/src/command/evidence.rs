//! What a leader saw when it decided that drain may begin or an instance may stop. Stored in the log beside the decision.

use std::collections::BTreeMap;
use std::fmt;

use hancock_proto::ids::{BootId, DocIndex, NodeId};
use serde::{Deserialize, Serialize};

/// Every node that has to confirm, on one side or the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Nodes whose balancer confirmed.
    pub confirmed: BTreeMap<NodeId, Confirmation>,
    /// Nodes whose balancer did not, and why they are no longer waited for.
    pub silent: BTreeMap<NodeId, String>,
    /// Readers of a registry outside that confirmed, and the lowest index over the app's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub readers: BTreeMap<String, DocIndex>,
    /// Readers that did not, and why they are no longer waited for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub silent_readers: BTreeMap<String, String>,
}

impl Evidence {
    /// Nobody is missing.
    pub fn is_complete(&self) -> bool {
        self.silent.is_empty() && self.silent_readers.is_empty()
    }
}

/// One balancer's confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The start of the daemon that confirmed; another boot voids it.
    pub boot: BootId,
    /// The lowest index confirmed over the app's names.
    pub index: DocIndex,
}

/// Why an instance may stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// Three zeros on every balancer.
    Drained,
    /// Open requests had their drain timeout.
    DrainTimeout,
    /// Open sessions had their session drain timeout.
    SessionTimeout,
    /// A balancer never confirmed and has been silent for too long.
    Unconfirmed,
}

impl StopCause {
    /// For people.
    pub fn prose(self) -> &'static str {
        match self {
            StopCause::Drained => "drained",
            StopCause::DrainTimeout => "drain timeout reached",
            StopCause::SessionTimeout => "session drain timeout reached",
            StopCause::Unconfirmed => "held for a silent balancer long enough",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let confirmed = self.confirmed.len() + self.readers.len();
        let total = confirmed + self.silent.len() + self.silent_readers.len();
        write!(f, "{confirmed} of {total} balancers confirmed")?;
        for (node, why) in &self.silent {
            write!(f, "; {node}: {why}")?;
        }
        for (reader, why) in &self.silent_readers {
            write!(f, "; {reader}: {why}")?;
        }
        Ok(())
    }
}
