//! Answers as the original gives them: chunked, JSON, or a page.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

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

/// The same, and the connection goes no further.
pub(super) fn last(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Response {
    // Without a length it leaves in chunks, and ends with the connection under HTTP/1.0.
    let piece = futures::stream::once(std::future::ready(Ok::<_, Infallible>(body)));
    let mut response = Response::new(Body::from_stream(piece));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    response
}
