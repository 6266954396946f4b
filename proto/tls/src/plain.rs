//! The answer to who speaks plain HTTP or plain gRPC at an encrypted door: what to do instead, in words of its own protocol.

use std::convert::Infallible;
use std::io;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;

/// For people and programs: an error as all others of the API.
const HTTP: &str = r#"{"code":"tls_required","message":"the master speaks TLS: use https://"}"#;
/// For agents and masters.
const GRPC: HeaderValue = HeaderValue::from_static(
    "the master speaks TLS: show the whole token that `hancock master init` printed, with its fingerprint",
);
/// What gRPC calls an unauthenticated caller.
const UNAUTHENTICATED: HeaderValue = HeaderValue::from_static("16");

/// Answers until the caller leaves; the caller of this bounds the time.
pub(crate) async fn refuse(tcp: TcpStream) -> io::Result<()> {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
    let builder = Builder::new(TokioExecutor::new());
    let served = builder.serve_connection(TokioIo::new(tcp), service).await;
    served.map_err(io::Error::other)
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let kind = request.headers().get(CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", UNAUTHENTICATED);
        headers.insert("grpc-message", GRPC);
        return response;
    }
    let mut response = Response::new(Full::from(HTTP));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if request.version() < hyper::Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
