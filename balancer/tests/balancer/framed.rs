//! The framed management protocol of the TCP side.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::tcp::{TcpWorld, at, quiet_port};

pub struct Framed(TcpStream);

const OK: (u32, &str) = (0, "OK");

impl Framed {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, line: &str, body: Option<&str>) -> Option<(u32, String)> {
        let mut bytes = format!("{line}\n").into_bytes();
        if let Some(body) = body {
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            bytes.extend_from_slice(body.as_bytes());
        }
        self.0.write_all(&bytes).await.unwrap();
        self.reply().await
    }

    /// None: hung up.
    async fn reply(&mut self) -> Option<(u32, String)> {
        let reading = async {
            let length = self.0.read_u32().await.ok()?;
            let code = self.0.read_u32().await.ok()?;
            let mut text = vec![0; length as usize - 4];
            self.0.read_exact(&mut text).await.ok()?;
            Some((code, String::from_utf8(text).unwrap()))
        };
        timeout(PATIENCE, reading).await.unwrap()
    }

    pub async fn put(&mut self, name: &str, document: &Value) {
        let body = document.to_string();
        self.says(&format!("PUT upstream {name}"), Some(&body), OK)
            .await;
    }

    pub async fn json(&mut self, line: &str) -> Value {
        let (code, text) = self.send(line, None).await.unwrap();
        assert_eq!(code, 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn says(&mut self, line: &str, body: Option<&str>, wanted: (u32, &str)) {
        let (code, text) = self.send(line, body).await.expect("a reply");
        assert_eq!((code, text.as_str()), wanted, "{line} {body:?}");
    }
}

#[tokio::test]
async fn documents_are_put_shown_and_deleted() {
    let world = TcpWorld::new().await;
    let mut framed = Framed::connect(world.framed).await;
    let status = framed.json("GET upstream status").await;
    assert_eq!(status["shd_config_version"], 0);
    let body = r#"{"servers":[{"host":"127.0.0.1","port":9}],"enable":false}"#;
    framed.says("PUT upstream s.ct", Some(body), OK).await;
    let stored = framed.json("GET upstream info").await;
    let bare = json!({"s.ct": {"cluster": [{"servers": [{"host": "127.0.0.1", "port": 9}]}]}});
    assert_eq!(stored, bare, "other keys of the short form are dropped");
    let full = r#"{"cluster":[{"servers":[{"host":"127.0.0.1","port":9}]}],"enable":false,"x":1}"#;
    framed.says("put UPSTREAM s.ct", Some(full), OK).await;
    framed.says("PUT upstream s.ct", Some(body), OK).await;
    let stored = framed.json("get upstream info").await;
    assert_eq!(
        (&stored["s.ct"]["enable"], &stored["s.ct"]["x"]),
        (&json!(false), &json!(1))
    );
    let status = framed.json("GET upstream status").await;
    assert_eq!(status["shd_config_version"], 3);
    assert_eq!(status["cls:s.ct"][0][0]["server"], "s.ct:127.0.0.1:9");
    assert!(world.handle.services().is_empty());
    framed.says("DELETE upstream s.ct\r", None, OK).await;
    framed
        .says("DELETE upstream s.ct", None, (2, "upstream s.ct not found"))
        .await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_refused_and_how() {
    let world = TcpWorld::new().await;
    let mut framed = Framed::connect(world.framed).await;
    for (line, body, message) in [
        ("", None, "command invalid"),
        ("GET", None, "command invalid"),
        ("PUT upstream", None, "command invalid"),
        ("a b c d", None, "command invalid"),
        ("GET nothing x", None, "topic invalid"),
        ("FOO upstream x", None, "method invalid"),
        ("LOAD upstream x", None, "method invalid"),
        ("PATCH upstream x", None, "method invalid"),
        ("GET  upstream   nosuch", None, "not allowed"),
        ("POST upstream x", Some("{}"), "POST_upstreamnot allowed"),
        ("PUT upstream x", Some("{"), "invalid body"),
        ("PUT upstream x", Some("[]"), "invalid body"),
        ("PUT upstream x", Some("{}"), "invalid body"),
        ("PUT upstream x", Some("12"), "invalid body"),
        ("PUT upstream x", Some("false"), "invalid body"),
        ("PUT upstream x", Some(r#"{"servers":1}"#), "invalid body"),
        (
            "PUT upstream x",
            Some(r#"{"servers":[]}"#),
            "servers invalid",
        ),
        (
            "PUT upstream x",
            Some(r#"{"servers":[1]}"#),
            "server must be a table",
        ),
        (
            "PUT upstream x",
            Some(r#"{"servers":[{}],"cluster":1}"#),
            "cluster invalid",
        ),
        (
            "PUT upstream x",
            Some(r#"{"cluster":[[]]}"#),
            "can not update empty level",
        ),
        (
            "PUT upstream x",
            Some(r#"{"servers":[{}]}"#),
            "no server.host nor server.port found",
        ),
        (
            "PUT upstream a/b",
            Some(r#"{"servers":[{"host":"127.0.0.1","port":9}]}"#),
            "upstream name invalid",
        ),
        ("PUT code x", None, "not supported yet"),
        ("DELETE code x", None, "not supported yet"),
        ("POST code x", Some("return 1"), "not supported yet"),
        ("LOAD code x", Some("return 1"), "not supported yet"),
    ] {
        framed.says(line, body, (2, message)).await;
    }
    assert_eq!(framed.json("GET upstream info").await, json!({}));
    assert_eq!(framed.json("GET code x").await, json!({}));
    let none = json!({"global_version": 0, "commit_version": "0", "modules": {}});
    assert_eq!(framed.json("GET code info").await, none);
    world.stop().await;
}

#[tokio::test]
async fn many_commands_in_one_write() {
    let world = TcpWorld::new().await;
    let mut framed = Framed::connect(world.framed).await;
    let bytes = b"GET nothing x\nPUT upstream z\n\0\0\0\x0e{\"servers\":[]}GET code info\n";
    framed.0.write_all(bytes).await.unwrap();
    assert_eq!(framed.reply().await, Some((2, "topic invalid".into())));
    assert_eq!(framed.reply().await, Some((2, "servers invalid".into())));
    assert_eq!(framed.reply().await.map(|r| r.0), Some(1));
    world.stop().await;
}

#[tokio::test]
async fn what_ends_a_connection() {
    let world = TcpWorld::new().await;
    for bytes in [
        &b"PUT upstream z\n\0\0\0\0"[..],
        b"PUT upstream z\n\x80\0\0\x01a",
        b"POST upstream z\n\0\0\0\0",
    ] {
        let mut framed = Framed::connect(world.framed).await;
        framed.0.write_all(bytes).await.unwrap();
        assert_eq!(framed.reply().await, None, "{bytes:?}");
    }
    let mut framed = Framed::connect(world.framed).await;
    framed
        .0
        .write_all(b"PUT upstream z\n\0\x10\0\x01")
        .await
        .unwrap();
    assert_eq!(framed.reply().await, Some((2, "body too big".into())));
    assert_eq!(framed.reply().await, None);
    let mut framed = Framed::connect(world.framed).await;
    framed.0.write_all(&vec![b'x'; 8193]).await.unwrap();
    assert_eq!(framed.reply().await, Some((2, "command invalid".into())));
    assert_eq!(framed.reply().await, None);
    world.stop().await;
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_is_told() {
    let world = TcpWorld::new().await;
    let port = quiet_port();
    let taken = std::net::TcpListener::bind(at(port)).unwrap();
    let mut framed = Framed::connect(world.framed).await;
    let body = r#"{"servers":[{"host":"127.0.0.1","port":9}]}"#;
    let (code, text) = framed
        .send(&format!("PUT upstream {port}"), Some(body))
        .await
        .unwrap();
    assert!(
        code == 2 && text.contains(&format!("127.0.0.1:{port}")),
        "{code} {text}"
    );
    let status = framed.json("GET upstream status").await;
    let line = &status["hancock"]["ports"][port.to_string()];
    assert!(line["open"] == false && line["error"].is_string(), "{line}");
    drop(taken);
    framed
        .says(&format!("DELETE upstream {port}"), None, OK)
        .await;
    let (code, text) = framed.send("PUT upstream 22", Some(body)).await.unwrap();
    assert!(
        code == 2 && text.contains("--tcp-ports 1024-65535"),
        "{text}"
    );
    world.stop().await;
}
