//! The way to other masters: one connection to each for short messages, another one while a snapshot is sent.
//!
//! Connections are made when they are needed and again when they are lost; every request has a deadline.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hancock_proto::ids::LogIndex;
use hancock_tls::Connector;
use hancock_wire::peers::PeerFrame;
use hancock_wire::peers::peers_client::PeersClient;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::frame::{self, Ends, LIMIT};
use super::member::{Member, Seat};
use super::runtime::timeout;
use super::snapshot;
use super::types::{Snapshot, Types, Vote};

/// Longest a connection may take to open, with the handshake: far less than an election.
pub(super) const CONNECT: Duration = Duration::from_millis(250);
/// A silent connection is asked for a sign of life after so long, and given up after as long again.
const SILENCE: Duration = Duration::from_secs(2);
/// Longest entries may take to be written by a follower; heartbeats are given less by Raft itself.
const APPEND: Duration = Duration::from_secs(1);

type Client = PeersClient<Channel>;
type Answered = Result<Response<PeerFrame>, Status>;

/// The connections to all peers. Clones share them.
#[derive(Clone)]
pub(crate) struct Network {
    seat: Arc<Seat>,
    connector: Connector,
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
}

/// One peer.
#[derive(Clone)]
pub(crate) struct Peer {
    ends: Ends,
    seat: Arc<Seat>,
    member: Member,
    connector: Connector,
    /// None: its address is none.
    channel: Option<Channel>,
}

impl Network {
    pub(crate) fn new(seat: Arc<Seat>) -> Self {
        Self {
            connector: seat.connector(),
            seat,
            channels: Arc::default(),
        }
    }

    /// Whose way it is.
    pub(crate) fn seat(&self) -> Arc<Seat> {
        self.seat.clone()
    }

    /// The peer with this id.
    pub(crate) fn peer(&self, id: u64, member: &Member) -> Peer {
        Peer {
            ends: Ends::new(&self.seat, id),
            seat: self.seat.clone(),
            member: member.clone(),
            connector: self.connector.clone(),
            channel: self.channel(&member.peers),
        }
    }

    fn channel(&self, address: &str) -> Option<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Some(channel.clone());
        }
        let channel = channel(address, &self.connector)?;
        channels.insert(address.to_owned(), channel.clone());
        Some(channel)
    }
}

/// A way to a master, made when it is needed; None: that is no address.
pub(super) fn channel(address: &str, connector: &Connector) -> Option<Channel> {
    if address.is_empty() {
        return None;
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    let endpoint = endpoint
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE)
        .keep_alive_while_idle(true);
    Some(endpoint.connect_with_connector_lazy(connector.clone()))
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        self.peer(target, node)
    }
}

impl Peer {
    /// Asks with a value and reads the answer's.
    async fn ask<T, F>(
        &self,
        value: &impl Serialize,
        deadline: Duration,
        call: impl FnOnce(Client, Request<PeerFrame>) -> F,
    ) -> Result<T, Status>
    where
        T: DeserializeOwned,
        F: Future<Output = Answered> + Send,
    {
        let client = client(self.channel.clone().ok_or_else(|| self.no_address())?);
        let mut request = Request::new(self.ends.frame(value)?);
        frame::sign(&mut request, &self.seat);
        request.set_timeout(deadline);
        let answer = timeout(deadline, call(client, request)).await;
        self.read(answer.map_err(|_| self.late(deadline))?)
    }

    fn read<T: DeserializeOwned>(&self, answer: Answered) -> Result<T, Status> {
        let frame = answer?.into_inner();
        self.ends.judge(&frame)?;
        frame::read(&frame)
    }

    fn no_address(&self) -> Status {
        Status::unavailable(format!("no way to master {} is set up", self.member.name))
    }

    fn late(&self, deadline: Duration) -> Status {
        let name = &self.member.name;
        Status::deadline_exceeded(format!("master {name} did not answer within {deadline:?}"))
    }

    fn failed(&self, status: &Status) -> RPCError<Types> {
        let text = format!("master {}: {}", self.member.name, status.message());
        match status.code() {
            // Slow, not away: asked again soon.
            Code::DeadlineExceeded | Code::Cancelled => {
                RPCError::Network(NetworkError::from_string(text))
            }
            code => {
                tracing::debug!(peer = self.member.name, ?code, status = status.message());
                RPCError::Unreachable(Unreachable::from_string(text))
            }
        }
    }

    /// How far a reader must be, told by this peer when it leads.
    pub(crate) async fn read_index(&self, deadline: Duration) -> Result<LogIndex, Status> {
        let call = async |mut client: Client, request| client.read_index(request).await;
        self.ask(&(), deadline, call).await
    }

    async fn send_snapshot(
        &self,
        vote: &Vote,
        snapshot: Snapshot,
        deadline: Duration,
    ) -> Result<SnapshotResponse<Types>, Status> {
        let channel = channel(&self.member.peers, &self.connector);
        let channel = channel.ok_or_else(|| self.no_address())?;
        let frames = snapshot::frames(&self.ends, vote, snapshot)?;
        let mut request = Request::new(tokio_stream::iter(frames));
        frame::sign(&mut request, &self.seat);
        request.set_timeout(deadline);
        let mut client = client(channel);
        let answer = timeout(deadline, client.snapshot(request)).await;
        self.read(answer.map_err(|_| self.late(deadline))?)
    }
}

fn client(channel: Channel) -> Client {
    PeersClient::new(channel)
        .max_decoding_message_size(LIMIT)
        .max_encoding_message_size(LIMIT)
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let call = async |mut client: Client, request| client.append(request).await;
        let deadline = option.soft_ttl().max(APPEND);
        let answer = self.ask(&rpc, deadline, call).await;
        answer.map_err(|status| self.failed(&status))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let call = async |mut client: Client, request| client.vote(request).await;
        let answer = self.ask(&rpc, option.soft_ttl(), call).await;
        answer.map_err(|status| self.failed(&status))
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let call = async |mut client: Client, request| client.pre_vote(request).await;
        let answer = self.ask(&rpc, option.soft_ttl(), call).await;
        answer.map_err(|status| self.failed(&status))
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let call = async |mut client: Client, request| client.transfer(request).await;
        let answer = self.ask(&rpc, option.soft_ttl(), call).await;
        answer.map_err(|status| self.failed(&status))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            sent = self.send_snapshot(&vote, snapshot, option.soft_ttl()) => {
                sent.map_err(|status| self.failed(&status).into())
            }
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }
}
