//! A small origin: says its name, echoes what it was sent, is slow, streams, upgrades, and dies when told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    name: String,
    hits: AtomicU64,
    /// One permit lets one slow answer or one chunk out.
    release: Semaphore,
}

type Body = BoxBody<Bytes, Infallible>;

impl Origin {
    pub async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            hits: AtomicU64::new(0),
            release: Semaphore::new(0),
        });
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self {
            address,
            shared,
            serving,
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::SeqCst)
    }

    /// Lets `n` slow answers or chunks out.
    pub fn release(&self, n: usize) {
        self.shared.release.add_permits(n);
    }

    /// Ends it as a kill would: no listener, every connection gone.
    pub async fn kill(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Aborting the task drops the set, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| answer(request, shared.clone()));
        connections.spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
        });
    }
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

async fn answer(
    mut request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, std::io::Error> {
    shared.hits.fetch_add(1, Ordering::SeqCst);
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/slow" => {
            shared.release.acquire().await.unwrap().forget();
            Response::new(full(shared.name.clone()))
        }
        "/502" => {
            let mut response = Response::new(full(format!("bad {}", shared.name)));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
        "/drop" => return Err(std::io::Error::other("dropped on purpose")),
        "/echo" => echo(request).await,
        "/stream" => Response::new(stream(shared)),
        "/ws" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let (mut read, mut write) = tokio::io::split(&mut io);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert("connection", "Upgrade".parse().unwrap());
            headers.insert("upgrade", "websocket".parse().unwrap());
            response
        }
        _ => Response::new(full(shared.name.clone())),
    })
}

/// Method, target, headers as lines, an empty line, then the body.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
    }
    let body = request
        .into_body()
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&body));
    Response::new(full(text))
}

/// Three chunks, each only when released.
fn stream(shared: Arc<Shared>) -> Body {
    let chunks = futures::stream::unfold((0, shared), |(n, shared)| async move {
        if n == 3 {
            return None;
        }
        shared.release.acquire().await.unwrap().forget();
        let frame = Frame::data(Bytes::from(format!("chunk {n}\n")));
        Some((Ok::<_, Infallible>(frame), (n + 1, shared)))
    });
    StreamBody::new(chunks).boxed()
}
