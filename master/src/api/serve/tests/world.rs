//! A served router with a TLS door, and clients that say exactly what they are told to.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, put};
use futures::stream;
use hancock_proto::time::{Clock, SystemClock};
use hancock_testkit::wait::wait_for_async;
use hancock_tls::{API, Authority, Conn, Connector, Door, HTTP, Party, Role};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::api::BODY_LIMIT;
use crate::api::body::unread;
use crate::api::limits::Limits;

/// Far more than anything here takes on a loaded machine.
pub const LATE: Duration = Duration::from_secs(20);
/// The deadline that a test is about.
pub const SHORT: Duration = Duration::from_millis(400);

/// Limits that are never reached unless a test sets them.
pub fn wide() -> Limits {
    Limits {
        head: LATE,
        body_silence: LATE,
        body: LATE,
        idle: LATE,
        reader: LATE,
        session_reader: LATE,
        ping: LATE,
        farewell: LATE,
        ..Limits::default()
    }
}

/// What the handlers tell and are told.
#[derive(Debug)]
pub struct Inside {
    /// Requests that wait for leave.
    pub held: AtomicUsize,
    /// Leave for one of them each.
    pub leave: Semaphore,
    /// Streams that were begun and not ended.
    pub streams: Arc<AtomicUsize>,
}

pub struct Served {
    pub address: SocketAddr,
    pub inside: Arc<Inside>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
    party: Party,
}

impl Served {
    pub fn start(limits: Limits) -> Self {
        let authority = Authority::found(&"c".parse().unwrap(), SystemClock.now()).unwrap();
        let (now, life) = (SystemClock.now(), Duration::from_secs(3600));
        let identity = authority.issue(Role::Master("m1".into()), &[], now, life);
        let party = Party::new(identity.unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door::open(listener, Some(&party), API).unwrap();
        let inside = Arc::new(Inside {
            held: AtomicUsize::new(0),
            leave: Semaphore::new(0),
            streams: Arc::default(),
        });
        let address = door.address();
        let stop = CancellationToken::new();
        let serving = super::super::serve(door, router(inside.clone()), limits, stop.clone());
        Self {
            address,
            inside,
            stop,
            task: tokio::spawn(serving),
            party,
        }
    }

    /// A connection that has shaken hands; `protocols` as in TLS.
    pub async fn connect(&self, protocols: &[&str]) -> Conn {
        let uri = format!("http://{}", self.address).parse().unwrap();
        let connector = Connector::new(Some(self.party.client(protocols)), LATE);
        connector.oneshot(uri).await.unwrap().into_inner()
    }

    /// A connection that has said this.
    pub async fn says(&self, text: &str) -> Conn {
        let mut conn = self.connect(HTTP).await;
        conn.write_all(text.as_bytes()).await.unwrap();
        conn
    }

    /// The answer to a request of its own connection, which is closed after it.
    pub async fn ask(&self, method: &str, path: &str) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        rest(&mut self.says(&head).await).await
    }

    /// Waits until so many requests are held at a time.
    pub async fn holds(&self, many: usize) {
        wait_for_async("requests in hand", LATE, || async {
            let held = self.inside.held.load(Ordering::SeqCst);
            if held == many { Ok(()) } else { Err(held) }
        })
        .await;
    }

    /// Waits until so many streams are open.
    pub async fn streams(&self, many: usize) {
        wait_for_async("streams", LATE, || async {
            let open = self.inside.streams.load(Ordering::SeqCst);
            if open == many { Ok(()) } else { Err(open) }
        })
        .await;
    }
}

/// Everything until the other end closes.
pub async fn rest(conn: &mut Conn) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LATE, conn.read_to_end(&mut bytes)).await;
    // One that is cut off does not say goodbye.
    drop(read.expect("the other end closes"));
    String::from_utf8(bytes).unwrap()
}

/// One answer with a length, of a connection that stays open.
pub async fn answer(conn: &mut Conn) -> String {
    let mut text = Vec::new();
    let reading = async {
        loop {
            let whole = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = whole.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|l| l.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return whole;
                }
            }
            let read = conn.read_buf(&mut text).await.unwrap();
            assert!(read > 0, "closed after {whole:?}");
        }
    };
    tokio::time::timeout(LATE, reading)
        .await
        .expect("an answer")
}

fn router(inside: Arc<Inside>) -> Router {
    Router::new()
        .route("/quick", get(async || "quick"))
        .route("/v1/status", get(async || "here"))
        .route("/held", any(held))
        .route("/length", put(length))
        .route("/bytes", put(bytes))
        .route("/large", get(async || vec![b'x'; LARGE]))
        .route("/endless", get(endless))
        .route("/session", get(session))
        .with_state(inside)
}

/// More than the kernel keeps of one connection.
pub const LARGE: usize = 64 << 20;

async fn held(State(inside): State<Arc<Inside>>) -> &'static str {
    inside.held.fetch_add(1, Ordering::SeqCst);
    inside.leave.acquire().await.unwrap().forget();
    inside.held.fetch_sub(1, Ordering::SeqCst);
    "left"
}

async fn length(request: Request) -> Response {
    match to_bytes(request.into_body(), BODY_LIMIT).await {
        Ok(bytes) => bytes.len().to_string().into_response(),
        Err(error) => unread(&error).into_response(),
    }
}

/// As handlers of a master alone read bodies.
async fn bytes(read: Result<Bytes, BytesRejection>) -> Response {
    match read {
        Ok(bytes) => bytes.len().to_string().into_response(),
        Err(error) => unread(&error).into_response(),
    }
}

/// Counted while it is there.
struct Stream(Arc<AtomicUsize>);

impl Stream {
    fn begin(inside: &Inside) -> Self {
        inside.streams.fetch_add(1, Ordering::SeqCst);
        Self(inside.streams.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn endless(State(inside): State<Arc<Inside>>) -> Body {
    let piece = Bytes::from(vec![b'x'; 16 << 10]);
    Body::from_stream(stream::unfold(Stream::begin(&inside), move |stream| {
        let piece = Ok::<_, io::Error>(piece.clone());
        async { Some((piece, stream)) }
    }))
}

/// Another protocol, which says more than anybody reads once it was told something.
async fn session(State(inside): State<Arc<Inside>>, mut request: Request) -> Response {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let _stream = Stream::begin(&inside);
        let mut io = TokioIo::new(upgraded.await.unwrap());
        if io.read_u8().await.is_ok() {
            let piece = [b'x'; 16 << 10];
            while io.write_all(&piece).await.is_ok() {}
        }
    });
    let head = [("connection", "upgrade"), ("upgrade", "more")];
    (axum::http::StatusCode::SWITCHING_PROTOCOLS, head).into_response()
}
