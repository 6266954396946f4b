//! One request, on a fresh connection or on a kept one.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::tally::Cause;

/// Time a request may take, connecting included.
const DEADLINE: Duration = Duration::from_secs(5);

/// Header the demo app adds to an answer it gives after its SIGTERM.
const AFTER_SIGTERM: &str = "x-after-sigterm";

type Connection = SendRequest<Empty<Bytes>>;

/// Where requests go, and connections kept for the next one.
#[derive(Debug)]
pub(super) struct Client {
    target: SocketAddr,
    host: String,
    path: String,
    kept: Mutex<Vec<Connection>>,
}

impl Client {
    pub(super) fn new(target: SocketAddr, host: &str, path: &str) -> Self {
        Self {
            target,
            host: host.to_owned(),
            path: path.to_owned(),
            kept: Mutex::default(),
        }
    }

    /// The first word of the answer.
    pub(super) async fn ask(&self, fresh: bool) -> Result<String, Cause> {
        tokio::time::timeout(DEADLINE, self.exchange(fresh))
            .await
            .unwrap_or(Err(Cause::Timeout))
    }

    async fn exchange(&self, fresh: bool) -> Result<String, Cause> {
        if fresh {
            let mut connection = self.connect().await?;
            return self.send(&mut connection, true).await.map_err(Sent::cause);
        }
        loop {
            let (mut connection, kept) = match self.take().await {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            match self.send(&mut connection, false).await {
                // Closed by the other side while it lay idle, and nothing was written: any client would open another.
                Err(Sent::Nothing) if kept => {}
                Err(sent) => return Err(sent.cause()),
                Ok(word) => {
                    self.lock().push(connection);
                    return Ok(word);
                }
            }
        }
    }

    /// A kept connection that is still open.
    async fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = self.lock().pop()?;
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Cause> {
        let stream = TcpStream::connect(self.target)
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::ConnectionRefused => Cause::Refused,
                _ => Cause::Broken(error.to_string()),
            })?;
        stream
            .set_nodelay(true)
            .map_err(|e| Cause::Broken(e.to_string()))?;
        let (connection, driver) = handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Cause::Broken(describe(&e)))?;
        // Ends when both sides are done; a failed exchange is told by the request.
        tokio::spawn(driver);
        Ok(connection)
    }

    async fn send(&self, connection: &mut Connection, last: bool) -> Result<String, Sent> {
        let mut request = Request::get(&self.path).header("host", &self.host);
        if last {
            request = request.header("connection", "close");
        }
        let request = request
            .body(Empty::new())
            .map_err(|e| Sent::Something(Cause::Broken(e.to_string())))?;
        let answer = connection.try_send_request(request).await;
        let answer = answer.map_err(|mut error| match error.take_message() {
            Some(_) => Sent::Nothing,
            None => Sent::Something(Cause::Broken(describe(error.error()))),
        })?;
        judge(answer).await.map_err(Sent::Something)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a failed request had come.
enum Sent {
    Nothing,
    Something(Cause),
}

impl Sent {
    fn cause(self) -> Cause {
        match self {
            Sent::Nothing => Cause::Broken("closed before the request was written".to_owned()),
            Sent::Something(cause) => cause,
        }
    }
}

async fn judge(answer: Response<Incoming>) -> Result<String, Cause> {
    let status = answer.status();
    let late = answer.headers().contains_key(AFTER_SIGTERM);
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(|e| Cause::Broken(describe(&e)))?
        .to_bytes();
    if !status.is_success() {
        return Err(Cause::Status(status.as_u16()));
    }
    if late {
        return Err(Cause::AfterSigterm);
    }
    let text = String::from_utf8_lossy(&body);
    Ok(text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// The error with what caused it.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
