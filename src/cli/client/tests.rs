#![allow(clippy::unwrap_used)]

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
