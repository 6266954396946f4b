//! The leader's turn.

use hancock_proto::ids::{AppName, DocIndex};
use hancock_proto::registry::Batch;
use hancock_proto::time::Timestamp;

use crate::command::Command;
use crate::leader::LeaderView;
use crate::state::State;

/// What the leader shall do now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// To propose, in order. Each is checked again when applied; a refusal only means that the state moved on.
    pub commands: Vec<Command>,
    /// To write to the registry, one at a time per app, then to report as [`Command::Published`].
    pub publish: Vec<Publication>,
    /// When to plan again if nothing happens before.
    pub wake_at: Option<Timestamp>,
}

/// One app's documents, to be written in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The app.
    pub app: AppName,
    /// Index of the documents.
    pub index: DocIndex,
    /// The documents.
    pub batch: Batch,
}

/// The leader's turn: what the state and what was seen of nodes ask for, now.
pub fn plan(state: &State, view: &LeaderView, now: Timestamp, seed: u64) -> Plan {
    let _ = (state, view, now, seed);
    Plan::default()
}
