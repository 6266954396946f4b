//! The next format is agreed on as soon as every master knows it: until then each can go back to the version before.

use super::Turn;
use crate::command::Command;

pub(super) fn plan(turn: &mut Turn<'_>) {
    let next = turn.state.format.next();
    let masters = turn.view.masters();
    if !masters.is_empty() && masters.values().all(|knows| *knows >= next) {
        let at = turn.now;
        turn.propose(Command::AgreeFormat { format: next, at });
    }
}
