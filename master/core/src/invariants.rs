//! What must hold after every command.

use crate::state::State;

/// Everything that is wrong with a state; empty when it is sound.
pub fn check(state: &State) -> Vec<String> {
    let _ = state;
    Vec::new()
}
