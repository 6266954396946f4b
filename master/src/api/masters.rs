//! The masters: who they are, who leads, who leaves.

use axum::Json;
use axum::extract::{Path, State};
use hancock_master_core::{Command, Format, MasterDeed, Reply};
use hancock_proto::api::MasterView;
use hancock_proto::ids::LogIndex;

use super::Api;
use super::error::Failure;
use super::query::Stale;
use super::writer::Writer;
use crate::deps::DEADLINE;
use crate::raft::{MemberError, Seated};

type Answer<T> = Result<Json<T>, Failure>;

/// All masters.
#[utoipa::path(
    get,
    path = "/v1/masters",
    operation_id = "list_masters",
    tag = "masters",
    params(Stale),
    responses((status = 200, body = Vec<MasterView>))
)]
pub(super) async fn list(State(api): State<Api>) -> Answer<Vec<MasterView>> {
    let raft = &api.deps.raft;
    // Who leads without knowing that it is over must not name itself; who never led may say what it sees.
    if !api.stale && raft.leadership().borrow().leading {
        raft.read(DEADLINE).await?;
    }
    Ok(Json(views(&api)))
}

/// Takes a master out of the cluster. Answers with those that are left.
#[utoipa::path(
    delete,
    path = "/v1/masters/{name}",
    operation_id = "remove_master",
    tag = "masters",
    params(("name" = String, Path, description = "The master."), Writer),
    responses((status = 200, body = Vec<MasterView>), (status = 404), (status = 409))
)]
pub(super) async fn remove(
    Writer(api): Writer,
    Path(name): Path<String>,
) -> Answer<Vec<MasterView>> {
    if is_to_be_done(&api, MasterDeed::Leave, &name).await? {
        api.deps.raft.send_away(&name).await?;
    }
    Ok(Json(views(&api)))
}

/// Makes a master the leader. Answers with all masters after that.
#[utoipa::path(
    post,
    path = "/v1/masters/{name}/transfer",
    operation_id = "transfer_leadership",
    tag = "masters",
    params(("name" = String, Path, description = "The master."), Writer),
    responses((status = 200, body = Vec<MasterView>), (status = 404), (status = 409))
)]
pub(super) async fn transfer(
    Writer(api): Writer,
    Path(name): Path<String>,
) -> Answer<Vec<MasterView>> {
    if is_to_be_done(&api, MasterDeed::Lead, &name).await? {
        api.deps.raft.transfer(&name).await?;
    }
    Ok(Json(views(&api)))
}

/// Notes a wish before it is carried out. False: it came before with the same key, and is carried out or overtaken.
async fn is_to_be_done(api: &Api, deed: MasterDeed, name: &str) -> Result<bool, Failure> {
    let raft = &api.deps.raft;
    let applied = raft.read(DEADLINE).await?;
    let there = raft.members().iter().any(|m| m.member.name == name);
    let noted = api.key.as_deref().and_then(|key| applied.answered(key));
    match (noted, deed) {
        // A new leader begins by itself a new term: the lead has been handed over, or was lost before and is another one's now.
        (Some(Reply::Noted(term)), MasterDeed::Lead) => Ok(term == applied.state().term),
        (Some(_), _) => Ok(there),
        // The refusal is the log's, and worth no note.
        (None, _) if !there => Ok(true),
        (None, _) => {
            let (name, at) = (name.to_owned(), api.deps.now());
            api.propose(Command::AskMaster { deed, name, at }).await?;
            Ok(true)
        }
    }
}

fn views(api: &Api) -> Vec<MasterView> {
    let raft = &api.deps.raft;
    let agreed = raft.newest().state().format;
    let members = raft.members().into_iter();
    members.map(|seated| view(seated, agreed)).collect()
}

fn view(seated: Seated, agreed: Format) -> MasterView {
    MasterView {
        name: seated.member.name,
        voter: seated.voter,
        leader: seated.leader,
        log: seated.log.map(LogIndex),
        version: Some(seated.member.version).filter(|version| !version.is_empty()),
        format: agreed.0,
        knows: seated.member.knows.0,
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
