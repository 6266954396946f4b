//! The switch to another registry: when every node follows it.

use super::Turn;
use crate::command::Command;

pub(super) fn plan(turn: &mut Turn<'_>) {
    let Some(next) = &turn.state.choosing.next else {
        return;
    };
    let Some(filled) = next.filled else { return };
    let number = next.to.number;
    let mut nodes = turn.state.nodes.iter();
    let follows = nodes.all(|(id, node)| turn.view.follows(id, &node.boot, number, filled));
    if !follows {
        return;
    }
    let at = turn.now;
    let nodes = turn.state.nodes.iter();
    let nodes = nodes.map(|(id, node)| (id.clone(), node.boot.clone()));
    turn.propose(Command::RegistrySwitched {
        number,
        nodes: nodes.collect(),
        at,
    });
}
