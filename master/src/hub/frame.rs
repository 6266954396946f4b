//! Frames to messages and back. A frame's fence is judged before its body is read.

use hancock_proto::hub::{AgentMessage, HubMessage};
use hancock_proto::registry::Fence;
use hancock_wire::{AgentFrame, HubFrame};
use tonic::Status;

/// What an agent said, if it belongs to this cluster and to no later term.
pub(super) fn read(frame: &AgentFrame, ours: &Fence) -> Result<AgentMessage, Status> {
    if let Some(theirs) = &frame.fence {
        judge(theirs, ours)?;
    }
    serde_json::from_slice(&frame.body)
        .map_err(|e| Status::invalid_argument(format!("the frame's body is not a message: {e}")))
}

/// Whether the agent knows which cluster it is in.
pub(super) fn names_cluster(frame: &AgentFrame) -> bool {
    frame
        .fence
        .as_ref()
        .is_some_and(|fence| !fence.cluster.is_empty())
}

fn judge(theirs: &hancock_wire::Fence, ours: &Fence) -> Result<(), Status> {
    // An agent that has not met a cluster yet names none.
    if !theirs.cluster.is_empty() && theirs.cluster != ours.cluster.as_str() {
        let (theirs, ours) = (&theirs.cluster, &ours.cluster);
        return Err(Status::failed_precondition(format!(
            "the node belongs to cluster {theirs}, this is cluster {ours}; empty the agent's data directory to move the node here"
        )));
    }
    if theirs.term > ours.term.0 {
        let (theirs, ours) = (theirs.term, ours.term);
        return Err(Status::aborted(format!(
            "the node has heard of term {theirs}, this master leads term {ours} and is no longer the leader"
        )));
    }
    Ok(())
}

/// The frame of a message.
pub(super) fn write(message: &HubMessage, fence: &Fence) -> Result<HubFrame, Status> {
    let body = serde_json::to_vec(message)
        .map_err(|e| Status::internal(format!("a message cannot be written: {e}")))?;
    Ok(HubFrame {
        fence: Some(hancock_wire::Fence {
            cluster: fence.cluster.to_string(),
            term: fence.term.0,
        }),
        body,
    })
}
