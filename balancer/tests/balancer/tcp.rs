//! TCP services on loopback: ports that come and go, sessions that stay.

mod bulk;
pub mod doors;
mod growth;
pub mod peer;
mod sessions;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hancock_balancer::{Balancer, Handle, TcpOptions};
use hancock_proto::upstream::UpstreamDoc;
pub use hancock_testkit::port::quiet_port;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::world::{listener, options, plain};

/// A balancer with a TCP side.
pub struct TcpWorld {
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    pub framed: SocketAddr,
    pub handle: Handle,
    balancer: Balancer,
    pub folder: TempDir,
}

impl TcpWorld {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut TcpOptions)) -> Self {
        Self::start(tempfile::tempdir().unwrap(), change).await
    }

    pub async fn start(folder: TempDir, change: impl FnOnce(&mut TcpOptions)) -> Self {
        let (balancer, admin, framed, proxy) = started(folder.path(), change).await;
        let balancer = balancer.unwrap();
        Self {
            proxy,
            admin,
            framed,
            handle: balancer.handle(),
            balancer,
            folder,
        }
    }

    pub async fn stop(self) -> TempDir {
        self.balancer.shutdown(Duration::from_secs(5)).await;
        self.folder
    }

    pub fn put(&self, port: u16, peers: &[u16]) {
        self.handle
            .apply_tcp(&port.to_string(), Some(plainly(peers)))
            .unwrap();
    }

    pub fn delete(&self, port: u16) {
        self.handle.apply_tcp(&port.to_string(), None).unwrap();
    }
}

pub async fn started(
    folder: &Path,
    change: impl FnOnce(&mut TcpOptions),
) -> (
    Result<Balancer, hancock_balancer::StartError>,
    SocketAddr,
    SocketAddr,
    SocketAddr,
) {
    let (mut options, proxy, admin) = options(folder);
    let (stream_admin, framed) = listener();
    let mut tcp = TcpOptions {
        bind: Ipv4Addr::LOCALHOST.into(),
        ..TcpOptions::default()
    };
    change(&mut tcp);
    options.tcp = Some(tcp);
    options.stream_admin = Some(stream_admin);
    (Balancer::start(options).await, admin, framed, proxy)
}

/// A document without checks.
pub fn plainly(peers: &[u16]) -> Arc<UpstreamDoc> {
    let servers: Vec<_> = peers
        .iter()
        .map(|p| json!({"host": "127.0.0.1", "port": p}))
        .collect();
    Arc::new(plain(
        json!({"enable": false, "cluster": [{"servers": servers}]}),
    ))
}

pub fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub async fn connect(port: u16) -> TcpStream {
    timeout(PATIENCE, TcpStream::connect(at(port)))
        .await
        .unwrap()
        .unwrap()
}

/// Everything up to the end of the stream.
pub async fn rest(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all))
        .await
        .unwrap()
        .map(|_| all)
}

/// What a peer that says its name answers through `port`: nothing when nobody serves, or a peer that only echoes.
pub async fn name_behind(port: u16) -> String {
    // A reset may come before the connecting side has looked: both are "nobody serves".
    let connected = timeout(PATIENCE, TcpStream::connect(at(port))).await;
    let Ok(mut stream) = connected.unwrap() else {
        return String::new();
    };
    // Whoever echoes then ends as well.
    let _ = stream.shutdown().await;
    String::from_utf8(rest(&mut stream).await.unwrap_or_default()).unwrap()
}
