//! `GET /v1/snapshot`: the whole cluster as of one index, as a file in pieces.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;

use super::describe::Backup;
use super::error::Failure;
use super::query::Stale;
use super::{Api, BUSY};
use crate::backup::{self, Head};
use crate::deps::DEADLINE;
use crate::raft::Applied;

/// Longest a reader may take. A file that ends early has no end, and is refused for it.
const PATIENCE: Duration = Duration::from_secs(600);

/// The whole cluster as of one index, as a file in pieces. One that ends early has no end, and is refused for it.
#[utoipa::path(
    get,
    path = "/v1/snapshot",
    operation_id = "snapshot",
    tag = "masters",
    params(Stale),
    responses((status = 200, body = Backup, content_type = "application/octet-stream"))
)]
pub(super) async fn save(State(api): State<Api>) -> Result<Response, Failure> {
    // Each holds all of the state in memory.
    let permit = Arc::clone(&api.deps.snapshots).try_acquire_owned();
    let busy = |_| {
        Failure::new(
            BUSY,
            "another snapshot is being sent; try again in a minute",
        )
    };
    let permit = permit.map_err(busy)?;
    let applied = api.deps.raft.read_here(DEADLINE).await?;
    let head = head(&api, &applied)?;
    tracing::info!(index = %head.index, "snapshot for a backup");
    let credentials = api.deps.raft.credentials();
    let pieces = move || backup::pieces(&head, &applied, credentials.as_deref());
    let pieces = tokio::task::spawn_blocking(pieces).await;
    let broken = |e: &dyn std::fmt::Display| Failure::new("internal", e.to_string());
    let pieces = pieces.map_err(|e| broken(&e))?.map_err(|e| broken(&e))?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, body(pieces, permit)).into_response())
}

fn head(api: &Api, applied: &Applied) -> Result<Head, Failure> {
    let state = applied.state();
    let beginning = || Failure::new("no_leader", "the cluster is about to begin");
    Ok(Head {
        cluster: state.cluster.clone().ok_or_else(beginning)?,
        index: state.applied,
        term: state.term,
        at: api.deps.now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

fn body(
    pieces: impl Iterator<Item = bytes::Bytes> + Send + 'static,
    permit: OwnedSemaphorePermit,
) -> Body {
    let late = tokio::time::sleep(PATIENCE);
    let pieces = stream::iter(pieces).take_until(late).map(move |piece| {
        // Given back with the last piece.
        let _held = &permit;
        Ok::<_, std::convert::Infallible>(piece)
    });
    Body::from_stream(pieces)
}
