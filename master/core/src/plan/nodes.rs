//! Nodes that fall silent for too long, and those that come back.

use super::Turn;
use crate::command::Command;
use crate::leader::LOST_AFTER;
use crate::state::NodeState;

pub(super) fn plan(turn: &mut Turn<'_>) {
    for (id, node) in &turn.state.nodes {
        let at = turn.now;
        let node_id = || id.clone();
        match node.state {
            NodeState::Alive if turn.overdue(turn.view.last_contact(id) + LOST_AFTER) => {
                turn.propose(Command::NodeLost {
                    node: node_id(),
                    at,
                });
            }
            NodeState::Lost if turn.view.is_alive(id, at) => {
                turn.propose(Command::NodeFound {
                    node: node_id(),
                    at,
                });
            }
            NodeState::Alive | NodeState::Lost => {}
        }
    }
}
