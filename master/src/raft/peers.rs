//! What other masters may ask of this one.

use std::future::Future;
use std::sync::Arc;

use hancock_master_core::Format;
use hancock_wire::peers::peers_server::{Peers, PeersServer};
use hancock_wire::peers::{MeetReply, MeetRequest, PeerFrame};
use openraft::EntryPayload;
use openraft::raft::AppendEntriesRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status, Streaming};

use super::frame::{self, Ends, LIMIT};
use super::member::Seat;
use super::types::{Entry, Types};
use super::{HEARTBEAT, Library, Raft, log, snapshot};

type Answer = Result<Response<PeerFrame>, Status>;

/// The gRPC service other masters call.
#[derive(Clone)]
pub(crate) struct PeerService {
    library: Library,
    raft: Raft,
    seat: Arc<Seat>,
}

impl Raft {
    /// The service other masters call; as many as there are doors.
    pub(crate) fn peers(&self) -> PeersServer<PeerService> {
        let service = PeerService {
            library: self.library.clone(),
            raft: self.clone(),
            seat: self.seat.clone(),
        };
        PeersServer::new(service)
            .max_decoding_message_size(LIMIT)
            .max_encoding_message_size(LIMIT)
    }
}

impl PeerService {
    /// Judges the frame, reads the question and writes the answer.
    async fn answer<Q, A, E, F>(
        &self,
        request: Request<PeerFrame>,
        deed: impl FnOnce(Q) -> F,
    ) -> Answer
    where
        Q: DeserializeOwned,
        A: Serialize,
        E: std::fmt::Display,
        F: Future<Output = Result<A, E>>,
    {
        self.answer_read(request, frame::read, deed).await
    }

    /// As [`PeerService::answer`], reading the question in another way.
    async fn answer_read<Q, A, E, F>(
        &self,
        request: Request<PeerFrame>,
        read: impl FnOnce(&PeerFrame) -> Result<Q, Status>,
        deed: impl FnOnce(Q) -> F,
    ) -> Answer
    where
        A: Serialize,
        E: std::fmt::Display,
        F: Future<Output = Result<A, E>>,
    {
        frame::admit(&request, &self.seat)?;
        let frame = request.into_inner();
        let ends = Ends::of(&frame, &self.seat)?;
        let answer = deed(read(&frame)?).await;
        let answer = answer.map_err(|e| Status::unavailable(e.to_string()))?;
        ends.frame(&answer).map(Response::new)
    }
}

/// A leader of the next version may write what this one cannot carry out, and not even read: it waits for its own upgrade, and does
/// not guess.
pub(super) fn entries(frame: &PeerFrame) -> Result<AppendEntriesRequest<Types>, Status> {
    let read = frame::read::<AppendEntriesRequest<Types>>(frame);
    let newest = match &read {
        Ok(rpc) => newest(&rpc.entries),
        Err(_) => frame::read(frame).map_or(Format::FIRST, |rpc| newest_unread(&rpc)),
    };
    match newest.is_known() {
        true => read,
        false => Err(refuse_newer("an entry", newest)),
    }
}

fn newest(entries: &[Entry]) -> Format {
    let formats = entries.iter().map(|entry| match &entry.payload {
        EntryPayload::Normal(write) => write.v,
        _ => Format::FIRST,
    });
    formats.max().unwrap_or_default()
}

fn newest_unread(rpc: &serde_json::Value) -> Format {
    let entries = rpc["entries"].as_array().into_iter().flatten();
    entries.filter_map(log::format_of).max().unwrap_or_default()
}

pub(super) fn refuse_newer(what: &str, found: Format) -> Status {
    let known = Format::NEWEST;
    Status::unavailable(format!(
        "{what} is of format {found}, this master knows formats up to {known} and waits to be upgraded"
    ))
}

#[tonic::async_trait]
impl Peers for PeerService {
    async fn append(&self, request: Request<PeerFrame>) -> Answer {
        self.answer_read(request, entries, |rpc| self.library.append_entries(rpc))
            .await
    }

    async fn vote(&self, request: Request<PeerFrame>) -> Answer {
        self.answer(request, |rpc| self.library.vote(rpc)).await
    }

    async fn pre_vote(&self, request: Request<PeerFrame>) -> Answer {
        self.answer(request, |rpc| self.library.pre_vote(rpc)).await
    }

    async fn transfer(&self, request: Request<PeerFrame>) -> Answer {
        let deed = |rpc| self.library.handle_transfer_leader(rpc);
        self.answer(request, deed).await
    }

    async fn snapshot(&self, request: Request<Streaming<PeerFrame>>) -> Answer {
        frame::admit(&request, &self.seat)?;
        let (ends, vote, snapshot) = snapshot::receive(request.into_inner(), &self.seat).await?;
        tracing::info!(from = ends.them, meta = ?snapshot.meta, "snapshot received");
        let installed = self.library.install_full_snapshot(vote, snapshot).await;
        let answer = installed.map_err(|e| Status::unavailable(e.to_string()))?;
        ends.frame(&answer).map(Response::new)
    }

    async fn read_index(&self, request: Request<PeerFrame>) -> Answer {
        let deed = |()| self.raft.read_index(HEARTBEAT * 10);
        self.answer(request, deed).await
    }

    async fn meet(&self, request: Request<MeetRequest>) -> Result<Response<MeetReply>, Status> {
        let credentials = self.seat.credentials.as_deref();
        let alone = || Status::failed_precondition("this master takes in no others");
        let credentials = credentials.ok_or_else(alone)?;
        self.raft
            .introduce(&request, credentials)
            .map(Response::new)
    }

    async fn join(&self, request: Request<PeerFrame>) -> Answer {
        frame::admit(&request, &self.seat)?;
        let frame = request.into_inner();
        let ends = Ends::of_any(&frame, &self.seat)?;
        let welcome = self.raft.welcome(frame.from, frame::read(&frame)?).await?;
        ends.frame(&welcome).map(Response::new)
    }
}
