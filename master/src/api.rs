//! The REST API for people and programs: `hancock_proto::api` over HTTP, nothing but JSON.
//!
//! - **Data in**: requests; every body is read by the core's own door. **Data out**: replies of the core, or an [`ApiError`](hancock_proto::api::ApiError).
//! - **Invariants**: a write that was answered is durable; a read sees every write answered before it; mistakes are answered with JSON too.
//! - **Never**: decides. What is allowed is decided where commands are applied.

// What the descriptions of routes expand to writes its paths whole.
#![allow(unused_qualifications)]

mod admission;
mod apps;
mod body;
mod cluster;
mod command;
mod deployments;
mod describe;
mod door;
mod error;
mod exec;
mod images;
mod limits;
mod logs;
mod masters;
mod nodes;
mod query;
mod registry;
mod run;
mod serve;
mod snapshot;
mod writer;
mod zones;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use hancock_master_core::{Command, Reply, view};
use hancock_proto::api::ApplyReply;
use hancock_registry::Opener;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::describe::openapi;
pub(crate) use self::door::guarded;
use self::error::Failure;
pub(crate) use self::limits::Limits;
pub(crate) use self::serve::{Entered, serve};
use crate::audit::Who;
use crate::deps::Deps;
use crate::hub::Sessions;

/// Largest body accepted.
const BODY_LIMIT: usize = 1 << 20;
/// The code of an answer that says that too much is in hand: nothing was done.
const BUSY: &str = "busy";

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

/// All routes, each with its description: none is added without one.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(describe::head())
        .routes(routes!(describe::document))
        .routes(routes!(apps::plan))
        .routes(routes!(apps::list))
        .routes(routes!(apps::show, apps::apply, apps::delete))
        .routes(routes!(apps::history))
        .routes(routes!(apps::rollback))
        .routes(routes!(apps::scale))
        .routes(routes!(apps::restart))
        .routes(routes!(apps::stop))
        .routes(routes!(apps::start))
        .routes(routes!(deployments::newest))
        .routes(routes!(logs::logs))
        .routes(routes!(deployments::show))
        .routes(routes!(deployments::abort))
        .routes(routes!(cluster::instances))
        .routes(routes!(exec::exec))
        .routes(routes!(run::run))
        .routes(routes!(cluster::restart))
        .routes(routes!(nodes::signal))
        .routes(routes!(cluster::nodes))
        .routes(routes!(nodes::orphans))
        .routes(routes!(nodes::purge))
        .routes(routes!(images::list))
        .routes(routes!(images::look, images::pull))
        .routes(routes!(zones::list))
        .routes(routes!(zones::put, zones::delete))
        .routes(routes!(
            zones::upstreams,
            zones::add,
            zones::delete_upstream
        ))
        .routes(routes!(registry::show, registry::choose))
        .routes(routes!(zones::top))
        .routes(routes!(masters::list))
        .routes(routes!(masters::remove))
        .routes(routes!(masters::transfer))
        .routes(routes!(cluster::events))
        .routes(routes!(cluster::status))
        .routes(routes!(snapshot::save))
}

/// The routes as they are served.
pub(crate) fn router(api: Api) -> Router {
    Router::from(routes())
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
            return Ok(self.show(render));
        }
        Ok(self.deps.read(render).await?)
    }

    /// The state as it is here. Whatever was answered here is in it.
    fn show<T>(&self, render: impl FnOnce(view::Context<'_>) -> T) -> T {
        let applied = self.deps.raft.newest();
        self.deps.render(applied.state(), render)
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
