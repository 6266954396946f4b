//! One of several masters: its own doors for people, agents and masters, each with its secret.

use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::ClusterId;
use hancock_proto::time::{Clock, SystemClock};
use hancock_registry::Opener;
use hancock_registry::embedded::Embedded;
use hancock_tls::{Door, GRPC, Party};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::certificates::Signer;
use super::seat::{self, Stored};
use super::{Master, StartError, identity};
use crate::access::Credentials;
use crate::api::{self, Api, Limits};
use crate::deps::Deps;
use crate::hub::{Guard, Line, Service, Sessions};
use crate::lead;
use crate::raft::{Member, Raft, Seat, is_refusal, meet};

/// An agent that says nothing for so long is asked whether it is there, and has as long to answer.
const SILENT: Duration = Duration::from_secs(5);
/// Calls at a time of one agent: a session, and the one before it, and a certificate's renewal.
const CALLS: u32 = 16;

/// What one of several masters needs.
pub struct ClusterOptions {
    /// Where it keeps what must survive; prepared by [`found_cluster`] or [`join_cluster`].
    pub data_dir: PathBuf,
    /// What the others are told about it.
    pub member: Member,
    /// Where the API listens.
    pub api: TcpListener,
    /// Where agents are listened for.
    pub agents: TcpListener,
    /// Where other masters are listened for.
    pub peers: TcpListener,
    /// Opens registries outside.
    pub registries: Opener,
}

/// Makes an empty directory the first master's of a new cluster; with certificates when it shall be `encrypted`, for good.
///
/// # Errors
/// The directory belongs to a cluster already, or cannot be written.
pub fn found_cluster(
    folder: &Path,
    encrypted: bool,
) -> Result<(ClusterId, Credentials), StartError> {
    let stored = seat::found(folder, encrypted, SystemClock.now())?;
    Ok((stored.cluster, stored.credentials))
}

/// Whether the cluster of a directory has certificates.
///
/// # Errors
/// The directory belongs to no cluster, or cannot be read.
pub fn is_encrypted(folder: &Path) -> Result<bool, StartError> {
    Ok(seat::load(folder)?.credentials.is_encrypted())
}

/// Makes an empty directory that of a new master, called `name`, of the cluster that the master at `contact` belongs to.
///
/// # Errors
/// The directory belongs to a cluster already, nobody answers at `contact`, or they refuse the token or the name.
pub async fn join_cluster(
    folder: &Path,
    name: &str,
    contact: &str,
    operator: &str,
) -> Result<ClusterId, StartError> {
    seat::must_be_free(folder)?;
    let introduction = meet(contact, name, operator).await.map_err(|status| {
        let deed = match is_refusal(&status) {
            true => "refuses",
            false => "cannot be asked",
        };
        StartError::Join(format!(
            "the master at {contact} {deed}: {}",
            status.message()
        ))
    })?;
    let cluster = introduction.cluster.clone();
    seat::enter(folder, introduction)?;
    Ok(cluster)
}

impl Master {
    /// Starts one of several masters. Returns when its doors are open; whether anybody leads is another matter.
    ///
    /// # Errors
    /// The directory belongs to no cluster, what is in it cannot be used, or a socket cannot be served.
    pub async fn take_part(options: ClusterOptions) -> Result<Self, StartError> {
        Self::take_part_within(options, Limits::default()).await
    }

    /// As [`Master::take_part`], with other limits of the API.
    pub(crate) async fn take_part_within(
        options: ClusterOptions,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let folder = options.data_dir.clone();
        let mut stored = seat::load(&folder)?;
        let signer = stored.credentials.authority.clone();
        let signer = signer.map(|authority| Signer::new(authority, options.member.clone()));
        let party = signer.as_ref().map(Signer::party).transpose()?;
        let seat = place(&stored, &options.member, party.clone());
        let raft = Raft::start(&folder.join(identity::RAFT), seat).await?;
        let known = stored.begun;
        if stored.founder {
            stored.begin(&folder)?;
        }
        let deps = Arc::new(Deps::new(
            options.member.name.clone(),
            stored.cluster.clone(),
            raft.clone(),
            Arc::new(SystemClock),
        ));
        let registries = options.registries;
        let registry = Arc::new(Embedded::new(deps.clone()));
        let leader = tokio::spawn(lead::run(deps.clone(), registry, registries.clone()));
        let sessions = Arc::new(Sessions::default());
        let guard = Guard::new(&stored.credentials);
        let service = Service::new(deps.clone(), sessions.clone(), guard, limits.node);
        let (removed, farewell) = (CancellationToken::new(), CancellationToken::new());
        let settling = settle(raft.clone(), stored.clone(), known, folder, removed.clone());
        let mut master = Self {
            deps: deps.clone(),
            service,
            tasks: vec![("leader", leader)],
            peers: None,
            removed,
        };
        let stop = deps.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(settling).await });
        match signer.zip(party.clone()) {
            Some((signer, party)) => master.keep_fresh(signer, party),
            None => tracing::warn!(
                "this cluster was begun without certificates: nothing is encrypted, and who can read the network can read the tokens"
            ),
        }
        let open = |listener, protocols| {
            Door::open(listener, party.as_ref(), protocols).map_err(StartError::Api)
        };
        let peers = Server::builder().add_service(raft.peers());
        let incoming = open(options.peers, GRPC)?.incoming();
        let ended = farewell.clone().cancelled_owned();
        let peers = peers.serve_with_incoming_shutdown(incoming, ended);
        master.peers = Some((farewell, door("peers", peers)));
        let agents = Server::builder()
            .http2_keepalive_interval(Some(SILENT))
            .http2_keepalive_timeout(Some(SILENT))
            .max_concurrent_streams(Some(CALLS))
            .add_service(master.hub());
        let incoming = open(options.agents, GRPC)?.incoming();
        let incoming = incoming.map(|taken| taken.map(Line::new));
        let agents =
            agents.serve_with_incoming_shutdown(incoming, deps.stop.clone().cancelled_owned());
        master.tasks.push(("agents", door("agents", agents)));
        let api = Api::new(deps.clone(), sessions, None, registries);
        let router = api::guarded(api, &stored.credentials.operator, party.as_ref());
        let door = open(options.api, hancock_tls::API)?;
        let api = api::serve(door, router, limits, deps.stop.clone());
        master.tasks.push(("api", tokio::spawn(api)));
        Ok(master)
    }

    fn keep_fresh(&self, signer: Signer, party: Party) {
        let stop = self.deps.stop.clone();
        let renewing = signer.keep_fresh(party);
        tokio::spawn(async move { stop.run_until_cancelled(renewing).await });
    }
}

fn place(stored: &Stored, member: &Member, party: Option<Party>) -> Seat {
    Seat {
        cluster: stored.cluster.clone(),
        id: stored.id,
        member: member.clone(),
        credentials: Some(Arc::new(stored.credentials.clone())),
        party,
        founder: stored.founder && !stored.begun,
    }
}

/// Becomes one of the masters, under the addresses of its configuration, and returns when it is none any more.
async fn settle(
    raft: Raft,
    mut stored: Stored,
    known: bool,
    folder: PathBuf,
    removed: CancellationToken,
) {
    if raft.settle(stored.contacts.clone(), known).await {
        match stored.begin(&folder) {
            Ok(()) => tracing::info!("one of the masters"),
            Err(error) => tracing::error!(%error, "that this master takes part was not noted"),
        }
        raft.expelled().await;
    }
    tracing::error!("this master was removed from its cluster");
    removed.cancel();
}

fn door(
    name: &'static str,
    server: impl Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, door = name, "a door closed");
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
