//! `trusted_proxies`, `forwarded_for`, `forwarded_proto`, `forwarded_host`: what is believed, and what origins are told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use hancock_balancer::Balancer;
use hancock_balancer_core::ring::{Ring, hash};
use hancock_testkit::wait::wait_for_async;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{document, exchange, rest};
use crate::client::PATIENCE;
use crate::origin::Origin;
use crate::world::{WEB, World, recorded};

/// What the origin is told when this is sent, `x-forwarded-` left out.
async fn told(world: &World, sent: &[(&str, &str)]) -> BTreeMap<String, String> {
    let lines = sent
        .iter()
        .map(|(name, value)| format!("X-Forwarded-{name}: {value}\r\n"));
    let lines: String = lines.collect();
    let head =
        format!("GET /echo HTTP/1.1\r\nHost: WEB.example:80\r\n{lines}Connection: close\r\n\r\n");
    let answer = exchange(world, &head).await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    let lines = body
        .lines()
        .filter_map(|l| l.strip_prefix("x-forwarded-")?.split_once(": "));
    lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    let entries = entries.iter();
    entries
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn origins_are_told_what_the_document_says() {
    let origin = Origin::start("a").await;
    let world = World::new().await;
    let sent = [
        ("For", "9.9.9.9"),
        ("For", "8.8.8.8"),
        ("Proto", "https"),
        ("Host", "x.example"),
    ];
    let others = [("proto", "https"), ("host", "x.example")];
    let with = |list: &str, others: &[(&str, &str)]| {
        let mut all = map(others);
        all.insert("for".into(), list.into());
        all
    };
    let own = [("proto", "http"), ("host", "WEB.example:80")];
    for (members, wanted) in [
        // As in the original: everything is handed on, the sender added.
        (json!({}), with("9.9.9.9, 8.8.8.8, 127.0.0.1", &others)),
        (
            json!({"forwarded_for": "replace"}),
            with("127.0.0.1", &others),
        ),
        (
            json!({"forwarded_proto": true, "forwarded_host": true}),
            with("9.9.9.9, 8.8.8.8, 127.0.0.1", &own),
        ),
        // A stranger's word counts for nothing.
        (
            json!({"trusted_proxies": ["10.0.0.0/8"]}),
            with("127.0.0.1", &[]),
        ),
        (
            json!({"trusted_proxies": [], "forwarded_proto": true, "forwarded_host": true}),
            with("127.0.0.1", &own),
        ),
        // A trusted proxy's does.
        (
            json!({"trusted_proxies": ["127.0.0.1"], "forwarded_proto": true, "forwarded_host": true}),
            with("9.9.9.9, 8.8.8.8, 127.0.0.1", &others),
        ),
        (
            json!({"trusted_proxies": ["127.0.0.0/8"], "forwarded_for": "replace"}),
            with("8.8.8.8", &others),
        ),
        (
            json!({"trusted_proxies": ["127.0.0.0/8", "8.8.8.8"], "forwarded_for": "replace"}),
            with("9.9.9.9", &others),
        ),
    ] {
        world.apply(document(&[origin.port()], members.clone()));
        assert_eq!(told(&world, &sent).await, wanted, "{members}");
    }
    let flags = json!({"forwarded_proto": true, "forwarded_host": true});
    world.apply(document(&[origin.port()], flags));
    assert_eq!(told(&world, &[]).await, with("127.0.0.1", &own));
    world.stop().await;
}

/// A client for each peer.
fn clients(ports: [u16; 2]) -> [String; 2] {
    let texts = ports.map(|port| format!("127.0.0.1:{port}"));
    let ring = Ring::new(texts.iter().map(|t| (t.as_str(), 1.0)));
    [0, 1].map(|peer| {
        let mut addresses = (0..u32::MAX)
            .step_by(65_537)
            .map(|n| Ipv4Addr::from(n).to_string());
        let is = |a: &String| ring.find(hash(a.as_bytes()), |_| true) == Some(peer);
        addresses.find(is).expect("a client for each peer")
    })
}

#[tokio::test]
async fn hashes_go_by_the_client_behind_trusted_proxies() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let ports = [a.port(), b.port()];
    let world = World::new().await;
    let mut seen = BTreeMap::new();
    for trusted in [true, false] {
        let nets = if trusted {
            json!(["127.0.0.1"])
        } else {
            json!([])
        };
        let mut doc = document(&ports, json!({"trusted_proxies": nets}));
        doc.mode = Some("ip_hash".into());
        world.apply(doc);
        let mut bodies = Vec::new();
        for client in clients(ports) {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: {WEB}\r\nX-Forwarded-For: {client}\r\nConnection: close\r\n\r\n"
            );
            let answer = exchange(&world, &head).await;
            bodies.push(answer.rsplit("\r\n").next().unwrap_or_default().to_owned());
        }
        seen.insert(trusted, bodies);
    }
    assert_eq!(seen[&true], ["a", "b"]);
    assert_eq!(seen[&false][0], seen[&false][1]);
    world.stop().await;
}

#[tokio::test]
async fn records_name_the_client_behind_trusted_proxies() {
    let origin = Origin::start("a").await;
    let folder = tempfile::tempdir().unwrap();
    let (options, proxy, log) = recorded(folder.path());
    let balancer = Balancer::start(options).await.unwrap();
    for trusted in [json!(["127.0.0.1"]), json!(["10.0.0.1"])] {
        let doc = document(&[origin.port()], json!({"trusted_proxies": trusted}));
        balancer.handle().apply(WEB, Some(doc.into())).unwrap();
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {WEB}\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        rest(&mut stream).await;
    }
    let addresses = wait_for_async("two records", PATIENCE, || async {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let records = text
            .lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok());
        let addresses: Vec<Value> = records.map(|r| r["remote_addr"].clone()).collect();
        if addresses.len() == 2 {
            Ok(addresses)
        } else {
            Err(text)
        }
    })
    .await;
    assert_eq!(addresses, ["9.9.9.9", "127.0.0.1"]);
    balancer.shutdown(PATIENCE).await;
}
