//! What the management ports are sent by mistake or in bad faith: one clear error, or the connection is closed, and nothing has changed.

mod framed;
mod http;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{PATIENCE, get, send};
use crate::framed::Framed;
use crate::tcp::TcpWorld;

/// Longest refusal: nobody is sent back what he sent.
const CLEAR: usize = 2048;
/// Nested deeper than any stack is.
const DEEP: usize = 100_000;
/// A refusal comes at once, however large what it is about.
const SOON: Duration = Duration::from_secs(20);

/// A balancer with a document on either side.
async fn holding() -> TcpWorld {
    let world = TcpWorld::new().await;
    let servers = json!([{"host": "127.0.0.1", "port": 9}]);
    let body = json!({"enable": false, "cluster": [{"servers": servers}]});
    let put = send(
        world.admin,
        "admin",
        "PUT",
        "/upstream/web.example",
        &body.to_string(),
    )
    .await;
    assert_eq!(put.status, 200, "{put:?}");
    let mut framed = Framed::connect(world.framed).await;
    framed.put("held.example", &body).await;
    world
}

/// All documents, versions and verdicts of both sides.
async fn state(world: &TcpWorld) -> [Value; 4] {
    let page = async |path: &str| {
        let answer = get(world.admin, "admin", path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    };
    let mut framed = Framed::connect(world.framed).await;
    let mut state = [
        page("/upstreams").await,
        page("/status").await,
        framed.json("GET upstream info").await,
        framed.json("GET upstream status").await,
    ];
    for status in [1, 3] {
        // Rounds go on whoever writes.
        for turning in ["last_check_time", "checkup_timer_alive"] {
            state[status][turning].take();
        }
    }
    state
}

/// Sends it all and reads until the other side closes, from the moment it has something to say. A client that is done sending says so.
async fn exchange(address: SocketAddr, sent: &[u8], done: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    let sending = async {
        // Whoever was refused may be cut off while he sends.
        let sent = write.write_all(sent).await;
        if done && sent.is_ok() {
            let _ = write.shutdown().await;
        }
    };
    let reading = async { drop(read.read_to_end(&mut answer).await) };
    let both = timeout(SOON, async { tokio::join!(sending, reading) }).await;
    both.expect("a refusal, or the end");
    answer
}

/// The same bytes at every run, of all values.
fn noise(length: usize) -> Vec<u8> {
    let mut seed = 7u32;
    let next = |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// `{"servers": …}` around something nested very deeply.
fn nested(open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(DEEP), close.repeat(DEEP))
}

/// Bodies of a document that must be refused, by either protocol.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let long = "x".repeat(900_000);
    let server = |host: &str| format!(r#"{{"servers":[{{"host":"{host}","port":1}}]}}"#);
    let whole = |proxy: &str| {
        format!(r#"{{"proxy":{proxy},"cluster":[{{"servers":[{{"host":"a","port":1}}]}}]}}"#)
    };
    let texts = [
        (
            "deep lists",
            format!(r#"{{"servers":{}}}"#, nested("[", "]")),
        ),
        (
            "deep lists, open",
            format!(r#"{{"servers":{}"#, "[".repeat(DEEP)),
        ),
        (
            "deep objects",
            format!(r#"{{"cluster":{}}}"#, nested(r#"{"a":"#, "}")),
        ),
        (
            "deep lists under a strange key",
            format!(
                r#"{{"x":{},"servers":[{{"host":"a","port":1}}]}}"#,
                nested("[", "]")
            ),
        ),
        ("only deep lists", nested("[", "]")),
        (
            "many numbers",
            format!(r#"{{"servers":[{}1]}}"#, "1,".repeat(400_000)),
        ),
        (
            "a long number",
            format!(r#"{{"servers":{}}}"#, "9".repeat(900_000)),
        ),
        ("a long host", server(&long)),
        (
            "a long name of a level",
            format!(r#"{{"cluster":{{"{long}":{{"servers":[{{"host":"a","port":0}}]}}}}}}"#),
        ),
        (
            "a long port",
            format!(r#"{{"servers":[{{"host":"a","port":"{long}"}}]}}"#),
        ),
        (
            "a long member of proxy",
            whole(&format!(r#"{{"{long}":1}}"#)),
        ),
        (
            "a long value of proxy",
            whole(&format!(r#"{{"route":"{long}"}}"#)),
        ),
        ("half a pair of surrogates", server(r"\ud800")),
        ("a zero byte", server("a\0")),
        (
            "cut off",
            r#"{"servers":[{"host":"127.0.0.1","port":1"#.to_owned(),
        ),
    ];
    let mut bodies: Vec<_> = texts.map(|(name, text)| (name, text.into_bytes())).into();
    bodies.push(("noise", noise(1 << 16)));
    let bad = b"{\"servers\":[{\"host\":\"\xff\xfe\",\"port\":1}]}";
    bodies.push(("a host that is no UTF-8", bad.to_vec()));
    bodies
}

/// The balancer lives and holds what it held.
async fn unchanged(world: &TcpWorld, before: &[Value; 4], what: &str) {
    let patience = timeout(PATIENCE, state(world)).await;
    assert_eq!(&patience.expect("it answers"), before, "after {what}");
}
