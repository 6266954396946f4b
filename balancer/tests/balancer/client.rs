//! A client of the proxy: one connection, one request after the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn reason(&self) -> &str {
        self.headers
            .get("x-hancock-reason")
            .map_or("", |v| v.to_str().unwrap())
    }
}

impl Client {
    pub async fn connect(address: SocketAddr, host: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), host).await
    }

    /// From another address of this machine: each may have so many connections only.
    pub async fn connect_from(source: Ipv4Addr, address: SocketAddr, host: &str) -> Self {
        Self::over(stream_from(source, address).await, host).await
    }

    async fn over(stream: TcpStream, host: &str) -> Self {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self {
            sender,
            host: host.to_owned(),
        }
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, String> {
        self.send("GET", path, "").await
    }

    pub async fn send(&mut self, method: &str, path: &str, body: &str) -> Result<Answer, String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        timeout(PATIENCE, self.exchange(request))
            .await
            .map_err(|_| "no answer in time".to_owned())?
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        self.sender.ready().await.map_err(|e| e.to_string())?;
        let response = self
            .sender
            .send_request(request)
            .await
            .map_err(|e| e.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// A connection from an address of this machine.
pub async fn stream_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// One request on a fresh connection.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    send(address, host, "GET", path, "").await
}

/// One request on a fresh connection.
pub async fn send(address: SocketAddr, host: &str, method: &str, path: &str, body: &str) -> Answer {
    Client::connect(address, host)
        .await
        .send(method, path, body)
        .await
        .unwrap()
}
