//! The way between masters: every message may be late, lost, repeated or cut off, there and back.

use std::fmt::Display;
use std::future::{Future, pending};
use std::time::Duration;

use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::lot::below;
use super::time::{pass, pass_until};
use super::world::World;
use crate::raft::Library;
use crate::raft::member::Member;
use crate::raft::runtime::{spawn, timeout};
use crate::raft::types::{Snapshot, Types, Vote};

/// One master's way to the others.
pub(super) struct Wire {
    world: World,
    from: u64,
    /// The sender's end.
    ended: CancellationToken,
}

/// Its way to one of them.
pub(super) struct Way {
    world: World,
    from: u64,
    to: u64,
    ended: CancellationToken,
}

impl Wire {
    pub(super) fn new(world: World, from: u64, ended: CancellationToken) -> Self {
        Self { world, from, ended }
    }
}

impl RaftNetworkFactory<Types> for Wire {
    type Network = Way;

    async fn new_client(&mut self, to: u64, _: &Member) -> Way {
        Way {
            world: self.world.clone(),
            from: self.from,
            to,
            ended: self.ended.clone(),
        }
    }
}

/// How long a message from one to the other takes; None: it does not arrive.
fn journey(world: &World, from: u64, to: u64) -> Option<Duration> {
    let inner = world.lock();
    let lost = below(1000) < inner.loss || inner.cut.contains(&(from, to));
    let takes = Duration::from_micros(1000 + below(inner.delay * 1000));
    (!lost).then_some(takes)
}

impl Way {
    /// Sends, and waits for the answer no longer than `deadline`. What is under way arrives even when nobody waits any more.
    async fn carry<Q, A, E, F>(
        &self,
        kind: &'static str,
        deadline: Duration,
        message: Q,
        deliver: impl Fn(Library, Q) -> F + Send + Sync + 'static,
    ) -> Result<A, RPCError<Types>>
    where
        Q: Clone + Send + 'static,
        A: Send + 'static,
        E: Display + Send + 'static,
        F: Future<Output = Result<A, E>> + Send + 'static,
    {
        let (world, from, to) = (self.world.clone(), self.from, self.to);
        let ended = self.ended.clone();
        let (tell, told) = oneshot::channel();
        let repeated = kind != "append" && below(20) == 0;
        drop(spawn(async move {
            let Some(takes) = journey(&world, from, to) else {
                return pending().await;
            };
            match kind {
                "append" => pass_until(world.arrival(from, to, takes)).await,
                _ => pass(takes).await,
            }
            let Some(library) = world.library(to).filter(|_| !ended.is_cancelled()) else {
                drop(tell.send(Err("nobody is there".to_owned())));
                return;
            };
            world.note((kind, from, to, takes));
            if repeated {
                drop(spawn(deliver(library.clone(), message.clone())));
            }
            let answer = deliver(library, message).await.map_err(|e| e.to_string());
            if let Some(takes) = journey(&world, to, from) {
                pass(takes).await;
                // Nobody waits for it: it came too late.
                drop(tell.send(answer));
            }
        }));
        let late = || RPCError::Network(NetworkError::from_string("no answer"));
        match timeout(deadline, told).await {
            _ if self.ended.is_cancelled() => pending().await,
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(why))) => Err(RPCError::Unreachable(Unreachable::from_string(why))),
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }
}

impl RaftNetworkV2<Types> for Way {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.world.led(rpc.vote.leader_id.term, self.from);
        let deliver = |library: Library, rpc| async move { library.append_entries(rpc).await };
        self.carry("append", option.hard_ttl(), rpc, deliver).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let deliver = |library: Library, rpc| async move { library.vote(rpc).await };
        self.carry("vote", option.hard_ttl(), rpc, deliver).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let deliver = |library: Library, rpc| async move { library.pre_vote(rpc).await };
        self.carry("pre-vote", option.hard_ttl(), rpc, deliver)
            .await
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let deliver =
            |library: Library, rpc| async move { library.handle_transfer_leader(rpc).await };
        self.carry("transfer", option.hard_ttl(), rpc, deliver)
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let deliver = |library: Library, (vote, snapshot)| async move {
            library.install_full_snapshot(vote, snapshot).await
        };
        let deadline = option.hard_ttl().min(Duration::from_secs(2));
        let sent = self.carry("snapshot", deadline, (vote, snapshot), deliver);
        sent.await.map_err(StreamingError::from)
    }
}
