//! The state as bytes, with a format number in front, and back.

use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::desired;
use crate::format::Format;
use crate::state::{Index, State};

#[cfg(feature = "next-format")]
mod next;

/// Why bytes are not a state.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Written by a newer version.
    #[error(
        "snapshot has format {found}, this version reads up to {known}; install the version that wrote it, or a newer one",
        known = Format::NEWEST
    )]
    Newer {
        /// Format found.
        found: Format,
    },
    /// Not readable at all.
    #[error("snapshot cannot be read: {0}")]
    Broken(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Out<'a> {
    format: Format,
    state: &'a State,
}

#[derive(Deserialize)]
struct Head {
    format: Format,
}

#[derive(Deserialize)]
struct In {
    state: State,
}

/// What every format begins with, before its number.
const BEGINNING: &[u8] = br#"{"format":"#;

impl State {
    /// The state as bytes, in the format agreed on in it.
    pub fn encode(&self) -> Vec<u8> {
        #[cfg(feature = "next-format")]
        if !self.format.is_first() {
            return next::encode(self);
        }
        let out = Out {
            format: self.format,
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
        let Head { format } = serde_json::from_slice(bytes)?;
        if !format.is_known() {
            return Err(SnapshotError::Newer { found: format });
        }
        let mut state = read(format, bytes)?;
        state.format = format;
        rebuild(&mut state);
        Ok(state)
    }

    /// The format of a state's bytes, without reading them; the first one where they do not tell.
    pub fn format_of(bytes: &[u8]) -> Format {
        let rest = bytes.strip_prefix(BEGINNING).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0u32, |number, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'))
        });
        Format(number).max(Format::FIRST)
    }
}

fn read(format: Format, bytes: &[u8]) -> Result<State, serde_json::Error> {
    #[cfg(feature = "next-format")]
    if !format.is_first() {
        return next::decode(bytes);
    }
    if format < Format::FIRST {
        return Err(serde_json::Error::custom("there is no format 0"));
    }
    let In { state } = serde_json::from_slice(bytes)?;
    Ok(state)
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
