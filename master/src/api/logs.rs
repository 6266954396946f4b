//! Logs of an app's instances, merged into one stream of JSON lines.

mod merge;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hancock_master_core::view;
use hancock_proto::api::InstanceView;
use hancock_proto::hub::{LogLine, Stream};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use self::merge::{Merge, Source};
use super::Api;
use super::body::App;
use super::error::Failure;
use super::query::{Query, Stale, since};
use crate::hub::Wanted;

/// Most lines `tail` may ask for of each instance.
const MAX_TAIL: usize = 100_000;
/// Lines that may wait for the reader.
const QUEUE: usize = 256;

/// `?follow=&tail=&since=`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// Go on with new lines until the reader leaves.
    #[serde(default)]
    follow: bool,
    /// Only the last so many lines of each instance.
    #[param(maximum = 100_000)]
    tail: Option<usize>,
    /// Only lines from then on: milliseconds since 1970, or how long ago, like `10m`.
    #[param(example = "10m")]
    since: Option<String>,
}

/// Logs of an app's instances, merged into one stream: one JSON value on each line.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/logs",
    operation_id = "app_logs",
    tag = "apps",
    params(App, Options, Stale),
    responses((status = 200, body = LogLine, content_type = "application/x-ndjson"), (status = 404))
)]
pub(super) async fn logs(
    State(api): State<Api>,
    App(app): App,
    Query(options): Query<Options>,
) -> Result<Response, Failure> {
    let now = api.deps.now();
    let from = options.since.as_deref().map(|text| since(text, now));
    let from = from.transpose()?;
    let detail = api.read(|ctx| view::app(ctx, &app)).await??;
    let sources: Vec<Source> = detail
        .instances
        .iter()
        .filter(|instance| instance.node.is_some())
        .map(|instance| {
            let wanted = Wanted {
                instance: instance.id.clone(),
                follow: options.follow,
                tail: options.tail.map(|n| n.min(MAX_TAIL)),
                since: from,
            };
            open(&api, instance, wanted)
        })
        .collect();
    let (tx, lines) = mpsc::channel(QUEUE);
    let stop = api.deps.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = Merge::new(sources, options.follow).run(&tx) => {}
            () = tx.closed() => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(respond(lines))
}

/// The instance's log, or one line that says why there is none.
fn open(api: &Api, instance: &InstanceView, wanted: Wanted) -> Source {
    let node = instance.node.as_ref();
    let log = node.and_then(|node| api.sessions.logs(node, wanted));
    match log {
        Some(log) => Source::open(instance.id.clone(), log),
        None => {
            let name = node.map(ToString::to_string).unwrap_or_default();
            let text = format!("hancock: no log: node {name} is not connected just now");
            Source::ended(LogLine {
                instance: instance.id.clone(),
                at: api.deps.now(),
                stream: Stream::Stderr,
                text,
            })
        }
    }
}

fn respond(lines: mpsc::Receiver<LogLine>) -> Response {
    let body = ReceiverStream::new(lines).map(|line| {
        let mut text = serde_json::to_vec(&line).map_err(std::io::Error::other)?;
        text.push(b'\n');
        Ok::<_, std::io::Error>(Bytes::from(text))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(body)).into_response()
}
