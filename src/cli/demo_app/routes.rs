//! What is answered to which path.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;

use super::state::{Phase, State};
use super::{say, websocket};

/// Any body there is here.
pub type Body = BoxBody<Bytes, hyper::Error>;

/// Tells tests that an instance answered that should have been out of rotation.
const AFTER_SIGTERM: &str = "x-after-sigterm";
/// Longest pause a request may ask for.
const LONGEST_MS: u64 = 3_600_000;

/// Answers one request.
pub async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
    sessions: TaskTracker,
) -> Response<Body> {
    let mut response = route(request, &state, &sessions).await;
    let headers = response.headers_mut();
    if state.is_after_sigterm() {
        headers.insert(AFTER_SIGTERM, HeaderValue::from_static("1"));
    }
    if state.phase() > Phase::Serving && !headers.contains_key(CONNECTION) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn route(
    request: Request<Incoming>,
    state: &Arc<State>,
    sessions: &TaskTracker,
) -> Response<Body> {
    let query = Query(request.uri().query().unwrap_or_default().to_owned());
    match (request.method(), request.uri().path()) {
        (_, "/healthz") if state.is_healthy() => text(StatusCode::OK, "ok\n"),
        (_, "/healthz") => text(StatusCode::SERVICE_UNAVAILABLE, "failing on demand\n"),
        (&Method::POST, "/fail-health") => health(state, false),
        (&Method::POST, "/pass-health") => health(state, true),
        (_, "/fail-health" | "/pass-health") => text(StatusCode::METHOD_NOT_ALLOWED, "POST it\n"),
        (_, "/slow") => {
            tokio::time::sleep(query.ms("ms", 1000)).await;
            hello(state)
        }
        (_, "/stream") => stream(query.number("chunks", 10), query.ms("ms", 100), state),
        (_, "/echo") => Response::new(request.into_body().boxed()),
        (_, "/env") => text(StatusCode::OK, environment()),
        (_, "/log") => {
            say(format_args!("log {}", query.get("line").unwrap_or("line")));
            text(StatusCode::OK, "logged\n")
        }
        (_, "/ws") => websocket::upgrade(request, state.clone(), sessions),
        _ => hello(state),
    }
}

fn hello(state: &State) -> Response<Body> {
    text(StatusCode::OK, state.identity.hello())
}

fn health(state: &State, healthy: bool) -> Response<Body> {
    state.set_healthy(healthy);
    say(format_args!(
        "health is now {}",
        if healthy { "good" } else { "bad" }
    ));
    text(StatusCode::OK, "done\n")
}

/// Names only: values may be secret.
fn environment() -> String {
    let mut names: Vec<_> = std::env::vars_os()
        .map(|(name, _)| format!("{}\n", name.to_string_lossy()))
        .collect();
    names.sort();
    names.concat()
}

/// `chunks` lines, a pause before each. Made by a task of its own, which ends when the client is gone.
fn stream(chunks: u64, pause: Duration, state: &State) -> Response<Body> {
    let hello = state.identity.hello();
    let (send, receive) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for n in 0..chunks {
            tokio::time::sleep(pause).await;
            let line = Frame::data(Bytes::from(format!("{n} {hello}")));
            if send.send(Ok(line)).await.is_err() {
                return;
            }
        }
    });
    Response::new(StreamBody::new(ReceiverStream::new(receive)).boxed())
}

/// A small text.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into())
        .map_err(|never| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// The part behind the question mark; plain words, nothing encoded.
struct Query(String);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .next()
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    fn ms(&self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.number(name, default).min(LONGEST_MS))
    }
}
