//! The state as bytes, with a format number in front, and back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::desired;
use crate::state::{Index, State};

/// Format written by this version.
pub const FORMAT: u32 = 1;

/// Why bytes are not a state.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Written by a newer version.
    #[error(
        "snapshot has format {found}, this version reads up to {FORMAT}; install the version that wrote it, or a newer one"
    )]
    Newer {
        /// Format found.
        found: u32,
    },
    /// Not readable at all.
    #[error("snapshot cannot be read: {0}")]
    Broken(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Out<'a> {
    format: u32,
    state: &'a State,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Deserialize)]
struct In {
    state: State,
}

impl State {
    /// The state as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let out = Out {
            format: FORMAT,
            state: self,
        };
        // Every map key is a string or a number, so this cannot fail.
        serde_json::to_vec(&out).unwrap_or_default()
    }

    /// The state from bytes.
    ///
    /// # Errors
    /// The bytes are broken or of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<State, SnapshotError> {
        let head: Head = serde_json::from_slice(bytes)?;
        if head.format > FORMAT {
            return Err(SnapshotError::Newer { found: head.format });
        }
        let In { mut state } = serde_json::from_slice(bytes)?;
        rebuild(&mut state);
        Ok(state)
    }
}

/// Fills in what is derived and not stored.
fn rebuild(state: &mut State) {
    for (id, assigned) in desired::derive_assigned(state) {
        if let Some(node) = state.nodes.get_mut(&id) {
            Arc::make_mut(node).assigned = assigned;
        }
    }
    state.index = Index::derive(state);
}
