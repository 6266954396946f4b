//! The management interface, as Slardar's clients know it, plus health and metrics.
//!
//! Paths match exactly, on the target as sent. What is under the interface's names but not one of its forms is 400 `{}`; anything else 404.

mod body;
pub(crate) mod metrics;
mod reply;
mod serve;
pub(crate) mod status;
pub(crate) mod write;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::control::Control;
use body::Spoilt;
use reply::{json as reply, page};

pub use write::check;

/// What requests look at.
pub(crate) struct Admin {
    pub(crate) control: Arc<Control>,
    pub(crate) open: Arc<AtomicU64>,
    pub(crate) tcp: Option<Arc<Control>>,
    pub(crate) access: Arc<Access>,
    /// What writers from other machines must show; None: they may not write.
    pub(crate) token: Option<String>,
}

/// The running server.
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers on `listener` from now on.
    pub(crate) fn start(listener: TcpListener, admin: Arc<Admin>) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve::serve(listener, admin, stopped));
        Ok(Self { stop, task })
    }

    /// Stops answering.
    pub(crate) async fn shutdown(self, grace: Duration) {
        self.stop.send_replace(true);
        let end = self.task.abort_handle();
        if tokio::time::timeout(grace, self.task).await.is_err() {
            end.abort();
        }
    }
}

async fn answer(admin: &Admin, client: SocketAddr, request: Request) -> Response {
    if let Some(status) = unfit(&request) {
        return page(status);
    }
    if body::is_announced_too_large(&request) {
        return reply::too_large(request.into_body());
    }
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |p| p.as_str())
        .to_owned();
    match target.as_str() {
        "/status" => reply(StatusCode::OK, &status::document(&admin.control)),
        "/upstreams" => reply(StatusCode::OK, &admin.control.documents()),
        "/healthz" => (StatusCode::OK, "ok\n").into_response(),
        "/metrics" => metrics::page(admin).into_response(),
        "/y_nginx_status" => connections(admin),
        "/lua" | "/lua/" => no_scripts(),
        "/upstream/.." => page(StatusCode::NOT_FOUND),
        other => match named(other) {
            Some(("/upstream/", name)) => upstream(admin, client, name, request).await,
            Some(_) => no_scripts(),
            None if is_ours(&target) => reply(StatusCode::BAD_REQUEST, &json!({})),
            None => page(StatusCode::NOT_FOUND),
        },
    }
}

/// Requests that break the protocol, or use it in a way nobody here means.
fn unfit(request: &Request) -> Option<StatusCode> {
    if request.method() == Method::TRACE {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let wrong = hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11);
    wrong.then_some(StatusCode::BAD_REQUEST)
}

/// The name in a target that holds one, and what it names.
fn named(target: &str) -> Option<(&'static str, &str)> {
    ["/upstream/", "/lua/"].into_iter().find_map(|kind| {
        let name = target.strip_prefix(kind)?;
        is_name(name).then_some((kind, name))
    })
}

async fn upstream(admin: &Admin, client: SocketAddr, name: &str, request: Request) -> Response {
    let outcome = match request.method().clone() {
        Method::PUT | Method::POST | Method::DELETE
            if !may_write(client.ip(), admin.token.as_deref(), request.headers()) =>
        {
            Err(write::Refused::new(
                StatusCode::FORBIDDEN,
                "writes from other machines need the header Authorization: Bearer TOKEN, with the token of --token-file",
            ))
        }
        Method::PUT | Method::POST => match body::whole(request.into_body()).await {
            Ok(body) => write::put(&admin.control, name, &body),
            Err(Spoilt::TooLarge(rest)) => return reply::too_large(rest),
            Err(Spoilt::Slow) => Err(write::Refused::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not come in time",
            )),
            Err(Spoilt::Broken) => Err(write::Refused::new(
                StatusCode::BAD_REQUEST,
                "the body ended early, or is not in the form its headers say",
            )),
        },
        Method::DELETE => write::delete(&admin.control, name),
        _ => Err(write::Refused::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method not allowed",
        )),
    };
    match outcome {
        Ok(()) => reply(StatusCode::OK, &json!({"status": 200})),
        Err(refused) => {
            let body = json!({"status": refused.status.as_u16(), "msg": refused.message});
            reply(refused.status, &body)
        }
    }
}

/// From this machine anybody may write; from others only who knows the token.
fn may_write(client: IpAddr, token: Option<&str>, headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION);
    let shown = shown.and_then(|v| v.as_bytes().strip_prefix(b"Bearer "));
    let known = match (token, shown) {
        (Some(token), Some(shown)) => same(token.as_bytes(), shown),
        _ => false,
    };
    client.to_canonical().is_loopback() || known
}

/// Takes as long whatever differs.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

fn no_scripts() -> Response {
    let body = json!({"status": 501, "msg": "this balancer has no scripts"});
    reply(StatusCode::NOT_IMPLEMENTED, &body)
}

fn connections(admin: &Admin) -> Response {
    let open = admin.open.load(Ordering::Relaxed);
    let kind = [(header::CONTENT_TYPE, "text/plain")];
    (kind, format!("Active connections: {open} \n")).into_response()
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(allowed)
}

/// Under one of the interface's names, as the original sees it.
fn is_ours(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or("");
    let path = String::from_utf8_lossy(&hancock_balancer_core::key::normalise(path.as_bytes()))
        .into_owned();
    ["/status", "/upstream", "/lua"]
        .iter()
        .any(|name| path.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_write_with_the_token_only() {
        let (here, mapped, other) = ("127.0.0.9", "::ffff:127.0.0.1", "10.0.0.1");
        let ip = |text: &str| text.parse().expect("an address");
        let mut headers = HeaderMap::new();
        assert!(may_write(ip(here), None, &headers) && may_write(ip(mapped), None, &headers));
        assert!(!may_write(ip(other), None, &headers));
        assert!(!may_write(ip(other), Some("secret"), &headers));
        for (shown, fits) in [
            ("Bearer secret", true),
            ("Bearer secre", false),
            ("secret", false),
        ] {
            headers.insert(header::AUTHORIZATION, shown.parse().expect("a value"));
            assert_eq!(
                may_write(ip(other), Some("secret"), &headers),
                fits,
                "{shown}"
            );
        }
        assert!(!may_write(ip(other), None, &headers));
    }
}
