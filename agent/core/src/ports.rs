//! Who holds which host port of the node.

use std::collections::BTreeMap;

use hancock_proto::assignment::{Assignment, Desired, PortBinding, RunSpec};
use hancock_proto::ids::InstanceId;

use crate::observed::Observed;

/// What another instance's claim on a port means for one that wants to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nobody else has any of its ports.
    Free,
    /// Somebody on the way out still has one: wait.
    Leaving {
        /// The port.
        port: u16,
        /// Who has it.
        holder: InstanceId,
    },
    /// Somebody who is wanted has one: the assignment contradicts itself.
    Taken {
        /// The port.
        port: u16,
        /// Who has it.
        holder: InstanceId,
    },
}

/// Looks whether the host ports of `wanting` are free of other instances of this node. `over`: ended for good, claims nothing.
pub fn claim(
    wanting: &InstanceId,
    assignment: &Assignment,
    seen: &BTreeMap<InstanceId, Observed>,
    over: impl Fn(&InstanceId) -> bool,
) -> Claim {
    let Some(assigned) = assignment.instances.get(wanting) else {
        return Claim::Free;
    };
    let ports: Vec<u16> = hosts(&assigned.run).collect();
    taken(wanting, &ports, assignment, seen, over)
        .or_else(|| leaving(wanting, &ports, seen))
        .unwrap_or(Claim::Free)
}

/// A wanted instance has the port when it runs, or when it comes first: of two that are both not up, the lower id wins.
fn taken(
    wanting: &InstanceId,
    ports: &[u16],
    assignment: &Assignment,
    seen: &BTreeMap<InstanceId, Observed>,
    over: impl Fn(&InstanceId) -> bool,
) -> Option<Claim> {
    assignment
        .instances
        .iter()
        .filter(|(id, other)| *id != wanting && other.desired == Desired::Running)
        .filter(
            |(id, _)| match seen.get(*id).is_some_and(Observed::is_running) {
                true => true,
                false => *id < wanting && !over(id),
            },
        )
        .find_map(|(id, other)| {
            let mut claimed = hosts(&other.run);
            let shared = claimed.find(|p| ports.contains(p))?;
            Some(Claim::Taken {
                port: shared,
                holder: id.clone(),
            })
        })
}

fn hosts(run: &RunSpec) -> impl Iterator<Item = u16> + '_ {
    run.ports.iter().flat_map(PortBinding::hosts)
}

fn leaving(
    wanting: &InstanceId,
    ports: &[u16],
    seen: &BTreeMap<InstanceId, Observed>,
) -> Option<Claim> {
    seen.iter()
        .filter(|(id, other)| *id != wanting && other.is_running())
        .find_map(|(id, other)| {
            let shared = other.host_ports.iter().find(|p| ports.contains(p))?;
            Some(Claim::Leaving {
                port: *shared,
                holder: id.clone(),
            })
        })
}
