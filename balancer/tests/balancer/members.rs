//! The members of `proxy` in an upstream document, each with real sockets.

mod bodies;
mod forwarded;
mod refusals;
mod retries;
mod routes;
mod sticky;
mod times;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::origin::Origin;
use crate::world::{World, plain};

/// A balancer whose service `web.example` is these origins, unchecked, with these members.
async fn serving(ports: &[u16], proxy: Value) -> World {
    let world = World::new().await;
    world.apply(document(ports, proxy));
    world
}

fn document(ports: &[u16], proxy: Value) -> hancock_proto::upstream::UpstreamDoc {
    let servers: Vec<Value> = ports
        .iter()
        .map(|port| json!({"host": "127.0.0.1", "port": port}))
        .collect();
    plain(json!({"enable": false, "cluster": [{"servers": servers}], "proxy": proxy}))
}

/// A port nobody listens on.
async fn dead() -> u16 {
    let origin = Origin::start("dead").await;
    let port = origin.port();
    origin.kill().await;
    port
}

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.proxy).await.unwrap()
}

/// Everything that comes until the balancer closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the connection ends").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn exchange(world: &World, sent: &str) -> String {
    let mut stream = connect(world).await;
    stream.write_all(sent.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}
