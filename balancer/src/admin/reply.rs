//! Answers as the original gives them: chunked, JSON, or a page.

use std::convert::Infallible;
use std::future::ready;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use serde::Serialize;

use super::body::throw_away;
use crate::http::{SERVER, error_page};

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => answer(status, "application/json", text.into()),
        Err(error) => {
            tracing::error!(%error, "cannot write an answer");
            page(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// A page for people.
pub(super) fn page(status: StatusCode) -> Response {
    answer(status, "text/html", error_page(status.as_u16(), ""))
}

/// A page for a client that sends too much. It goes out at once; the rest of the body is thrown away before the connection closes, because
/// a client that is reset while it sends may never read it.
pub(super) fn too_large(rest: Body) -> Response {
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    let page = stream::once(ready(Ok::<_, Infallible>(error_page(status.as_u16(), ""))));
    let silence = stream::once(throw_away(rest).map(|()| Ok(Bytes::new())));
    let mut response = streamed(status, "text/html", Body::from_stream(page.chain(silence)));
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Response {
    // Without a length it leaves in chunks, and ends with the connection under HTTP/1.0.
    let piece = stream::once(ready(Ok::<_, Infallible>(body)));
    streamed(status, kind, Body::from_stream(piece))
}

fn streamed(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    response
}
