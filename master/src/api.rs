//! The REST API for people and programs: `hancock_proto::api` over HTTP, nothing but JSON.
//!
//! - **Data in**: requests; every body is read by the core's own door. **Data out**: replies of the core, or an [`ApiError`](hancock_proto::api::ApiError).
//! - **Invariants**: a write that was answered is durable; a read sees every write answered before it; mistakes are answered with JSON too.
//! - **Never**: decides. What is allowed is decided where commands are applied.

mod apps;
mod body;
mod cluster;
mod deployments;
mod door;
mod entrance;
mod error;
mod logs;
mod masters;
mod query;
mod registry;
mod snapshot;
mod writer;
mod zones;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::{delete, get, post, put};
use hancock_master_core::{Command, Reply, view};
use hancock_proto::api::ApplyReply;
use hancock_registry::Opener;

pub(crate) use self::door::guarded;
pub(crate) use self::entrance::{ApiDoor, Entered};
use self::error::Failure;
use crate::audit::Who;
use crate::deps::Deps;
use crate::hub::Sessions;

/// Largest body accepted.
const BODY_LIMIT: usize = 1 << 20;

/// What every handler has.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) deps: Arc<Deps>,
    pub(crate) sessions: Arc<Sessions>,
    /// Where requests enter on this machine.
    pub(crate) proxy: Option<Arc<str>>,
    /// What can be chosen.
    pub(crate) registries: Opener,
    /// Reads are answered with what is here, however old.
    stale: bool,
    /// The key of the write being answered.
    key: Option<Arc<str>>,
    /// Whose request is being answered.
    who: Who,
}

/// All routes.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/plan", post(apps::plan))
        .route("/v1/apps", get(apps::list))
        .route(
            "/v1/apps/{app}",
            get(apps::show).put(apps::apply).delete(apps::delete),
        )
        .route("/v1/apps/{app}/history", get(apps::history))
        .route("/v1/apps/{app}/rollback", post(apps::rollback))
        .route("/v1/apps/{app}/scale", post(apps::scale))
        .route("/v1/apps/{app}/restart", post(apps::restart))
        .route("/v1/apps/{app}/stop", post(apps::stop))
        .route("/v1/apps/{app}/start", post(apps::start))
        .route("/v1/apps/{app}/deployment", get(deployments::newest))
        .route("/v1/apps/{app}/logs", get(logs::logs))
        .route("/v1/deployments/{id}", get(deployments::show))
        .route("/v1/deployments/{id}/abort", post(deployments::abort))
        .route("/v1/instances", get(cluster::instances))
        .route("/v1/nodes", get(cluster::nodes))
        .route("/v1/zones", get(zones::list))
        .route("/v1/zones/{zone}", put(zones::put).delete(zones::delete))
        .route(
            "/v1/zones/{zone}/upstreams",
            get(zones::upstreams)
                .post(zones::add)
                .delete(zones::delete_upstream),
        )
        .route("/v1/registry", get(registry::show).put(registry::choose))
        .route("/v1/top", get(zones::top))
        .route("/v1/masters", get(masters::list))
        .route("/v1/masters/{name}", delete(masters::remove))
        .route("/v1/masters/{name}/transfer", post(masters::transfer))
        .route("/v1/events", get(cluster::events))
        .route("/v1/status", get(cluster::status))
        .route("/v1/snapshot", get(snapshot::save))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(api)
}

async fn unknown_path(uri: Uri) -> Failure {
    let message = format!(
        "there is nothing at {}; the API begins with /v1/",
        uri.path()
    );
    Failure::new("not_found", message)
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    let message = format!("{} does not take {method}", uri.path());
    Failure::new("method_not_allowed", message)
}

impl Api {
    pub(crate) fn new(
        deps: Arc<Deps>,
        sessions: Arc<Sessions>,
        proxy: Option<String>,
        registries: Opener,
    ) -> Self {
        Self {
            deps,
            sessions,
            proxy: proxy.map(Into::into),
            registries,
            stale: false,
            key: None,
            who: Who::new("nobody", None),
        }
    }

    /// Reads the newest state with everything answered before; or, when that may be, the state as it is here.
    async fn read<T>(&self, render: impl FnOnce(view::Context<'_>) -> T) -> Result<T, Failure> {
        if self.stale {
            let applied = self.deps.raft.newest();
            return Ok(self.deps.render(applied.state(), render));
        }
        Ok(self.deps.read(render).await?)
    }

    async fn propose(&self, command: Command) -> Result<Reply, Failure> {
        let reply = self.deps.propose_for(&self.who, command, self.key.clone());
        Ok(reply.await?)
    }

    /// Writes what an owner wishes.
    async fn wish(&self, command: Command) -> Result<ApplyReply, Failure> {
        match self.propose(command).await? {
            Reply::Applied(reply) => Ok(reply),
            Reply::Refused(error) => Err(error.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}
