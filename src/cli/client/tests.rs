#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;

use hancock_proto::hub::Stream;

use super::*;
use crate::cli::exit;
use crate::cli::testing::server as scripted;

fn server(answers: Vec<(u16, &str)>) -> String {
    scripted(
        answers
            .into_iter()
            .map(|(status, body)| (status, body.to_owned()))
            .collect(),
    )
}

/// A server that answers once, and the key it was shown.
fn keeping(status: u16, body: &str) -> (String, std::sync::mpsc::Receiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, keys) = std::sync::mpsc::sync_channel(1);
    let answer = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        let key = text
            .lines()
            .find_map(|l| l.strip_prefix("idempotency-key: "));
        told.send(key.map(str::to_owned)).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    (url, keys)
}

fn client(url: &str) -> Client {
    // What `main` does first; a second time is refused and harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(url).unwrap()
}

#[tokio::test]
async fn an_absent_master_is_named_with_the_way_out() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let error = client(&url).status().await.unwrap_err();
    assert_eq!(error.exit_code(), exit::UNREACHABLE);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!(
            "cannot reach the master at {url}: connection refused"
        )),
        "{text}"
    );
    assert!(
        text.contains("hancock dev") && text.contains("HANCOCK_MASTER"),
        "{text}"
    );
}

/// An address nobody listens on.
fn absent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn the_next_master_is_asked_when_one_is_silent() {
    let living = server(vec![(200, "[]"), (200, "[]")]);
    let client = client(&format!("{}, {living},{}", absent(), absent()));
    assert!(client.apps().await.unwrap().is_empty());
    // Who answered is asked first the next time.
    assert!(client.nodes().await.unwrap().is_empty());
    let (one, other) = (absent(), absent());
    let nobody = Client::new(&format!("{one},{other}")).unwrap();
    let text = nobody.status().await.unwrap_err().to_string();
    let named = format!("cannot reach the master at {one}, {other}: connection refused");
    assert!(text.starts_with(&named), "{text}");
}

#[tokio::test]
async fn a_missing_leader_is_waited_for_beside_a_silent_master() {
    let none = r#"{"code": "no_leader", "message": "no leader is elected"}"#;
    let living = server(vec![(503, none), (503, none), (200, "[]")]);
    let client = client(&format!("{},{living}", absent()));
    assert!(client.apps().await.unwrap().is_empty());
}

/// Whoever did nothing with it, for want of a leader or of room, is not asked with another key.
#[tokio::test]
async fn a_write_sent_to_the_next_master_is_the_same_write() {
    let none = r#"{"code": "no_leader", "message": "no leader is elected"}"#;
    let busy = r#"{"code": "busy", "message": "too much in hand; try again in a second"}"#;
    for refusal in [none, busy] {
        let (one, keys) = keeping(503, refusal);
        let (other, same) = keeping(200, "[]");
        let client = client(&format!("{one},{other}"));
        client.transfer("m2").await.unwrap();
        let key = keys.recv().unwrap();
        assert!(key.is_some());
        assert_eq!(key, same.recv().unwrap());
    }
}

#[tokio::test]
async fn who_stays_busy_is_told_in_its_words() {
    let busy = r#"{"code": "busy", "message": "too much in hand; try again in a second"}"#;
    let client = client(&server(vec![(503, busy)]));
    let request = client.request(Method::GET, "/v1/snapshot").unwrap();
    let error = client.opened(request).await.unwrap_err();
    assert_eq!(error.exit_code(), exit::UNREACHABLE);
    assert!(error.is_passing());
    let text = error.to_string();
    assert!(text.contains("is busy: too much in hand"), "{text}");
}

#[test]
fn an_address_must_be_one() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for url in ["", "127.0.0.1:7400", "ftp://x"] {
        let error = Client::new(url).unwrap_err();
        assert!(
            error.to_string().contains("http://127.0.0.1:7400"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_all_problems() {
    let body = r#"{"code": "invalid_spec", "message": "the spec of web is not valid", "problems": [{"path": "replicas", "message": "too many"}]}"#;
    let error = client(&server(vec![(422, body)])).apps().await.unwrap_err();
    assert_eq!(error.exit_code(), exit::REFUSED);
    assert_eq!(
        error.to_string(),
        "the spec of web is not valid\n  replicas: too many"
    );
}

#[tokio::test]
async fn an_unknown_app_is_none_where_that_is_an_answer() {
    let body = r#"{"code": "app_not_found", "message": "there is no app \"web\""}"#;
    let url = server(vec![(404, body), (404, body)]);
    let client = client(&url);
    assert_eq!(client.app("web").await.unwrap(), None);
    assert!(client.existing_app(&"web".parse().unwrap()).await.is_err());
}

#[tokio::test]
async fn a_missing_leader_is_waited_for() {
    let none = r#"{"code": "no_leader", "message": "no leader is elected"}"#;
    let url = server(vec![(503, none), (503, none), (200, "[]")]);
    assert!(client(&url).apps().await.unwrap().is_empty());
}

#[tokio::test]
async fn another_program_is_not_taken_for_a_master() {
    let error = client(&server(vec![(200, "<html>")]))
        .apps()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    let error = client(&server(vec![(502, "bad gateway")]))
        .apps()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("bad gateway"), "{error}");
}

#[tokio::test]
async fn log_lines_come_one_by_one() {
    let body = "{\"instance\":\"web-1\",\"at\":1,\"stream\":\"stdout\",\"text\":\"a\"}\n\n{\"instance\":\"web-2\",\"at\":2,\"stream\":\"stderr\",\"text\":\"b\"}";
    let client = client(&server(vec![(200, body)]));
    let mut lines = client
        .logs(&"web".parse().unwrap(), &LogQuery::default())
        .await
        .unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text, "a");
    assert_eq!(lines.next().await.unwrap().unwrap().stream, Stream::Stderr);
    assert_eq!(lines.next().await.unwrap(), None);
}
