//! The management interface, as Slardar's clients know it, plus health and metrics.
//!
//! Paths match exactly, on the target as sent. What is under the interface's names but not one of its forms is 400 `{}`; anything else 404.

mod metrics;
pub(crate) mod status;
pub(crate) mod write;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control::Control;

/// Largest body.
const MAX_BODY: usize = 1 << 20;

/// What requests look at.
pub(crate) struct Admin {
    pub(crate) control: Arc<Control>,
    pub(crate) open: Arc<AtomicU64>,
    /// The TCP side, for metrics.
    pub(crate) tcp: Option<Arc<Control>>,
}

/// The running server.
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers on `listener` from now on.
    pub(crate) fn start(listener: TcpListener, admin: Admin) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = Router::new().fallback(answer).with_state(Arc::new(admin));
        let (stop, mut stopped) = watch::channel(false);
        let stopping = async move { drop(stopped.wait_for(|stop| *stop).await) };
        let task = tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(stopping);
            if let Err(error) = serving.await {
                tracing::error!(%error, "the admin interface ended");
            }
        });
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

async fn answer(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |p| p.as_str())
        .to_owned();
    if request.method() == Method::TRACE {
        return page(StatusCode::METHOD_NOT_ALLOWED);
    }
    match target.as_str() {
        "/status" => reply(StatusCode::OK, &status::document(&admin.control)),
        "/upstreams" => reply(StatusCode::OK, &json!(admin.control.documents())),
        "/healthz" => (StatusCode::OK, "ok\n").into_response(),
        "/metrics" => metrics::page(&admin).into_response(),
        other => match other
            .strip_prefix("/upstream/")
            .filter(|name| is_name(name))
        {
            Some(name) => upstream(&admin, name, request).await,
            None if is_ours(&target) => reply(StatusCode::BAD_REQUEST, &json!({})),
            None => page(StatusCode::NOT_FOUND),
        },
    }
}

async fn upstream(admin: &Admin, name: &str, request: Request) -> Response {
    let outcome = match request.method().clone() {
        Method::PUT | Method::POST => match body(request.into_body()).await {
            Ok(body) => write::put(&admin.control, name, &body),
            Err(status) => return page(status),
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

async fn body(body: Body) -> Result<Vec<u8>, StatusCode> {
    let read = to_bytes(body, MAX_BODY).await;
    read.map(|b| b.to_vec())
        .map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)
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

fn reply(status: StatusCode, body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, body.to_string()).into_response()
}

fn page(status: StatusCode) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/html")];
    let body = format!(
        "<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\r\n"
    );
    (status, kind, body).into_response()
}
