//! Rehearsal of a format change, in builds for tests only: in format 2 the state is spelled `content`, which no version before reads.

use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::state::State;

#[derive(Serialize)]
struct Out<'a> {
    format: Format,
    content: &'a State,
}

#[derive(Deserialize)]
struct In {
    content: State,
}

pub(super) fn encode(state: &State) -> Vec<u8> {
    let out = Out {
        format: state.format,
        content: state,
    };
    serde_json::to_vec(&out).unwrap_or_default()
}

pub(super) fn decode(bytes: &[u8]) -> Result<State, serde_json::Error> {
    let In { content } = serde_json::from_slice(bytes)?;
    Ok(content)
}
