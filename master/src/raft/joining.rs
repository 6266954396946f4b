//! How a master gets into a cluster: it is introduced once with the operator's token, and then asks to be taken in until it is.

use std::sync::Arc;
use std::time::Duration;

use hancock_master_core::Format;
use hancock_proto::ids::ClusterId;
use hancock_tls::{Connector, GRPC, Pin};
use hancock_wire::peers::peers_client::PeersClient;
use hancock_wire::peers::{MeetReply, MeetRequest, PeerFrame};
use openraft::async_runtime::watch::WatchReceiver;
use serde::{Deserialize, Serialize};
use tonic::{Code, Request, Status};

use super::frame::{self, Ends};
use super::member::{Member, Seat};
use super::members::MemberError;
use super::network::channel;
use super::runtime::{sleep, timeout};
use super::{Raft, START_DEADLINE};
use crate::access::Credentials;

/// Time between two requests to be taken in.
const KNOCK: Duration = Duration::from_millis(250);
/// Time between two calls of one of the masters, which hears by them that it was removed.
const CALL: Duration = Duration::from_secs(2);
/// Addressee of a message to whoever answers.
const ANYBODY: u64 = 0;

/// What a new master is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Introduction {
    pub(crate) cluster: ClusterId,
    pub(crate) credentials: Credentials,
    /// Where the masters reach each other.
    pub(crate) contacts: Vec<String>,
}

impl Introduction {
    fn pin(&self) -> Option<Pin> {
        self.credentials.authority.as_ref()?.pin().ok()
    }
}

/// A request to be one of the masters.
#[derive(Serialize, Deserialize)]
pub(super) struct Knock {
    member: Member,
    /// It was one before: then only its addresses can be new.
    known: bool,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Welcome {
    /// It is one of the masters now.
    Taken,
    /// The leader is there.
    Ask(String),
    /// Nobody leads, or the change cannot be made yet.
    Later(String),
    /// It was removed.
    Removed,
}

/// Asks the master at `contact` about its cluster.
pub(crate) async fn meet(
    contact: &str,
    name: &str,
    operator: &str,
) -> Result<Introduction, Status> {
    let pin = Pin::of_token(operator);
    let tls = pin.map(|pin| hancock_tls::pinned(pin, GRPC)).transpose();
    let tls = tls.map_err(|e| Status::internal(e.to_string()))?;
    let connector = Connector::new(tls.map(Arc::new), START_DEADLINE);
    let channel = channel(contact, &connector).ok_or_else(|| {
        Status::invalid_argument("that is no address; write HOST:PORT, like 10.0.0.1:7402")
    })?;
    let name = name.to_owned();
    let knows = Format::NEWEST.0;
    let mut request = Request::new(MeetRequest { name, knows });
    frame::show(request.metadata_mut(), operator);
    let mut client = PeersClient::new(channel);
    let late = |_| Status::unavailable(format!("no answer within {START_DEADLINE:?}"));
    let reply = timeout(START_DEADLINE, client.meet(request)).await;
    let reply = reply.map_err(late)??.into_inner();
    let introduction: Introduction = serde_json::from_slice(&reply.body)
        .map_err(|e| Status::internal(format!("the answer is not of this version: {e}")))?;
    match introduction.pin() == pin {
        true => Ok(introduction),
        false => Err(Status::internal(
            "the authority it tells of is another one than the token's",
        )),
    }
}

impl Raft {
    /// Tells a new master about the cluster.
    pub(super) fn introduce(
        &self,
        request: &Request<MeetRequest>,
        credentials: &Credentials,
    ) -> Result<MeetReply, Status> {
        if !frame::shows(request.metadata(), &credentials.operator) {
            return Err(Status::unauthenticated(
                "this is not the operator's token that `hancock master init` printed",
            ));
        }
        let members = self.members();
        let name = &request.get_ref().name;
        if members.iter().any(|seated| seated.member.name == *name) {
            return Err(Status::already_exists(format!(
                "the cluster has a master {name} already; `hancock master remove {name}` first, or choose another name"
            )));
        }
        // Versions that do not tell know the first one only.
        let knows = Format(request.get_ref().knows).max(Format::FIRST);
        self.refuse_older(name, knows)
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        let introduction = Introduction {
            cluster: self.seat.cluster.clone(),
            credentials: credentials.clone(),
            contacts: members
                .into_iter()
                .map(|seated| seated.member.peers)
                .collect(),
        };
        let body = serde_json::to_vec(&introduction);
        let body = body.map_err(|e| Status::internal(e.to_string()))?;
        Ok(MeetReply { body })
    }

    /// Answers a master that wants to be taken in.
    pub(super) async fn welcome(&self, id: u64, knock: Knock) -> Result<Welcome, Status> {
        let leader = self.leadership.borrow().place.clone();
        let (leading, present) = (self.leadership.borrow().leading, self.is_member(id));
        if !leading {
            return Ok(match leader {
                Some(member) => Welcome::Ask(member.peers),
                None => Welcome::Later("nobody leads just now".into()),
            });
        }
        if knock.known && !present {
            return Ok(Welcome::Removed);
        }
        match self.take_in(id, &knock.member).await {
            Ok(()) => Ok(Welcome::Taken),
            Err(error @ (MemberError::NameTaken { .. } | MemberError::Full)) => {
                Err(Status::already_exists(error.to_string()))
            }
            Err(error @ MemberError::TooOld { .. }) => {
                Err(Status::failed_precondition(error.to_string()))
            }
            Err(error) => Ok(Welcome::Later(error.to_string())),
        }
    }

    fn is_member(&self, id: u64) -> bool {
        self.members().iter().any(|seated| seated.id == id)
    }

    /// This master as the membership has it.
    fn own_entry(&self) -> Option<Member> {
        let metrics = self.library.metrics();
        let now = metrics.borrow_watched();
        now.membership_config.get_node(&self.seat.id).cloned()
    }

    /// Returns when the membership says of this master what its configuration says; false: it was removed.
    pub(crate) async fn settle(&self, mut contacts: Vec<String>, known: bool) -> bool {
        let mut told = None;
        while self.own_entry().as_ref() != Some(&self.seat.member) {
            match self.knock(&mut contacts, known).await {
                Ok(Welcome::Removed) => return false,
                Ok(Welcome::Taken | Welcome::Ask(_)) => {}
                Ok(Welcome::Later(reason)) => tell(&mut told, reason),
                Err(status) => tell(&mut told, status.message().to_owned()),
            }
            tokio::select! {
                biased;
                () = self.ended() => return true,
                () = sleep(KNOCK) => {}
            }
        }
        true
    }

    /// Returns when this master, which was one of them, was removed. The log cannot tell it: who is removed is sent no more of it.
    pub(crate) async fn expelled(&self) {
        let mut contacts = Vec::new();
        loop {
            sleep(CALL).await;
            if let Ok(Welcome::Removed) = self.knock(&mut contacts, true).await {
                return;
            }
        }
    }

    /// Asks the first contact; the next time it is another one's turn, or the leader's.
    async fn knock(&self, contacts: &mut Vec<String>, known: bool) -> Result<Welcome, Status> {
        let knock = Knock {
            member: self.seat.member.clone(),
            known,
        };
        if self.leadership.borrow().leading {
            return self.welcome(self.seat.id, knock).await;
        }
        let own = &self.seat.member.peers;
        let others = self.members().into_iter().map(|seated| seated.member.peers);
        for other in others.filter(|peers| peers != own) {
            if !contacts.contains(&other) {
                contacts.push(other);
            }
        }
        let Some(contact) = contacts.first().cloned() else {
            return Ok(Welcome::Later("no other master is known".into()));
        };
        contacts.rotate_left(1);
        let welcome = ask(&self.seat, &contact, &knock).await?;
        if let Welcome::Ask(leader) = &welcome {
            contacts.retain(|contact| contact != leader);
            contacts.insert(0, leader.clone());
        }
        Ok(welcome)
    }
}

async fn ask(seat: &Seat, contact: &str, knock: &Knock) -> Result<Welcome, Status> {
    let channel = channel(contact, &seat.connector())
        .ok_or_else(|| Status::unavailable(format!("{contact} is not an address")))?;
    let mut request = Request::new(Ends::new(seat, ANYBODY).frame(knock)?);
    frame::sign(&mut request, seat);
    let mut client = PeersClient::new(channel);
    let late = |_| Status::unavailable(format!("no answer from {contact}"));
    let reply = timeout(START_DEADLINE, client.join(request)).await;
    let reply: PeerFrame = reply.map_err(late)??.into_inner();
    Ends::of(&reply, seat)?;
    frame::read(&reply)
}

/// Says a reason when it is a new one.
fn tell(told: &mut Option<String>, reason: String) {
    if told.as_ref() != Some(&reason) {
        tracing::warn!(reason, "not yet one of the masters");
        *told = Some(reason);
    }
}

/// Whether joining failed because of what was asked, not because of the moment.
pub(crate) fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unauthenticated
            | Code::AlreadyExists
            | Code::InvalidArgument
            | Code::FailedPrecondition
    )
}
