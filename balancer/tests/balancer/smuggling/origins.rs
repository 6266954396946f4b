//! Origins that keep what they saw: one that is a server of good manners, and ones that read as somebody might.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::reader::{Read, Seen, Style};

/// What all connections of an origin brought.
#[derive(Debug, Default)]
pub struct Record {
    /// Whole requests as the origin understood them, in the order they became whole.
    pub seen: Vec<Seen>,
    /// All bytes of each connection; only where the origin reads them itself.
    pub connections: Vec<Vec<u8>>,
}

pub struct Origin {
    pub port: u16,
    pub record: Arc<Mutex<Record>>,
    serving: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What an origin sends instead of an answer.
#[derive(Debug, Clone)]
pub struct Scripted {
    pub bytes: Vec<u8>,
    /// Hangs up behind it.
    pub close: bool,
}

/// Answers by target; anything else is answered with what was asked.
pub type Script = Arc<HashMap<String, Scripted>>;

impl Origin {
    /// Built on a library that many use.
    pub async fn library() -> Self {
        Self::start(
            |stream, record, _| library(stream, record),
            Script::default(),
        )
        .await
    }

    /// Takes requests apart by itself.
    pub async fn reading(style: Style, script: Script) -> Self {
        let serve = move |stream, record, script| reading(stream, record, script, style);
        Self::start(serve, script).await
    }

    async fn start<F>(
        serve: impl Fn(TcpStream, Arc<Mutex<Record>>, Script) -> F + Send + 'static,
        script: Script,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let record = Arc::new(Mutex::new(Record::default()));
        let shared = record.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone(), script.clone()));
            }
        });
        Self {
            port,
            record,
            serving,
        }
    }
}

async fn library(stream: TcpStream, record: Arc<Mutex<Record>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let record = record.clone();
        async move {
            let (head, body) = request.into_parts();
            let text = |name| {
                let value = head
                    .headers
                    .get(name)
                    .map(|v: &hyper::header::HeaderValue| v.as_bytes());
                String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
            };
            let mut seen = Seen {
                method: head.method.to_string(),
                target: head.uri.to_string(),
                host: text("host"),
                body: Vec::new(),
            };
            let answer = format!("{} {}", seen.method, seen.target);
            // A request that breaks off was none.
            if let Ok(whole) = body.collect().await {
                seen.body = whole.to_bytes().to_vec();
                record.lock().unwrap().seen.push(seen);
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
        }
    });
    let http = hyper::server::conn::http1::Builder::new();
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn reading(mut stream: TcpStream, record: Arc<Mutex<Record>>, script: Script, style: Style) {
    let at = {
        let mut record = record.lock().unwrap();
        record.connections.push(Vec::new());
        record.connections.len() - 1
    };
    let mut arrived = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut arrived).await {
        while let Some((answer, taken)) = next(style, &arrived, &record, &script) {
            let read: Vec<u8> = arrived.drain(..taken).collect();
            record.lock().unwrap().connections[at].extend_from_slice(&read);
            if stream.write_all(&answer.bytes).await.is_err() || answer.close {
                return;
            }
        }
    }
    // Whatever was never finished.
    record.lock().unwrap().connections[at].extend_from_slice(&arrived);
}

/// The answer to the next request, and the bytes it took.
fn next(
    style: Style,
    arrived: &[u8],
    record: &Mutex<Record>,
    script: &Script,
) -> Option<(Scripted, usize)> {
    match style.read(arrived) {
        Read::More => None,
        Read::Nonsense(_) if arrived.is_empty() => None,
        Read::Nonsense(why) => {
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{why}",
                why.len()
            );
            Some((kept(answer), arrived.len()))
        }
        Read::Whole(seen, taken) => {
            let answer = script
                .get(&seen.target)
                .cloned()
                .unwrap_or_else(|| plain(&seen));
            record.lock().unwrap().seen.push(seen);
            Some((answer, taken))
        }
    }
}

fn kept(answer: String) -> Scripted {
    Scripted {
        bytes: answer.into_bytes(),
        close: false,
    }
}

fn plain(seen: &Seen) -> Scripted {
    let text = format!("{} {}", seen.method, seen.target);
    let body = if seen.method == "HEAD" { "" } else { &text };
    let length = text.len();
    kept(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}
