//! The masters: who they are, who leads, who leaves.

use axum::Json;
use axum::extract::{Path, State};
use hancock_proto::api::MasterView;
use hancock_proto::ids::LogIndex;

use super::Api;
use super::error::Failure;
use crate::deps::DEADLINE;
use crate::raft::{MemberError, Seated};

type Answer<T> = Result<Json<T>, Failure>;

pub(super) async fn list(State(api): State<Api>) -> Answer<Vec<MasterView>> {
    let raft = &api.deps.raft;
    // Who leads without knowing that it is over must not name itself; who never led may say what it sees.
    if !api.stale && raft.leadership().borrow().leading {
        raft.read(DEADLINE).await?;
    }
    Ok(Json(views(&api)))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Answer<Vec<MasterView>> {
    api.deps.raft.send_away(&name).await?;
    Ok(Json(views(&api)))
}

pub(super) async fn transfer(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Answer<Vec<MasterView>> {
    api.deps.raft.transfer(&name).await?;
    Ok(Json(views(&api)))
}

fn views(api: &Api) -> Vec<MasterView> {
    api.deps.raft.members().into_iter().map(view).collect()
}

fn view(seated: Seated) -> MasterView {
    MasterView {
        name: seated.member.name,
        voter: seated.voter,
        leader: seated.leader,
        log: seated.log.map(LogIndex),
        api: seated.member.api,
        agents: seated.member.agents,
        peers: seated.member.peers,
    }
}

impl From<MemberError> for Failure {
    fn from(error: MemberError) -> Self {
        let code = match &error {
            MemberError::NotLeading => "no_leader",
            MemberError::Unknown { .. } => "master_not_found",
            _ => "conflict",
        };
        Self::new(code, error.to_string())
    }
}
