#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::state::Phase;
use super::*;

/// Longest any test may wait for anything.
const SOON: Duration = Duration::from_secs(20);

/// A served app on ports of its own.
struct Served {
    http: SocketAddr,
    echo: SocketAddr,
    state: Arc<State>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
    client: reqwest::Client,
}

impl Served {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = (http.local_addr().unwrap(), echo.local_addr().unwrap());
        let state = Arc::new(State::new(Identity::learn(Some("v7")), false));
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = state.clone();
        let ended = tokio::spawn(async move {
            life::serve_on(http, Some(echo), &shared, async { stopped.await.unwrap() }).await;
        });
        Self {
            http: addresses.0,
            echo: addresses.1,
            state,
            stop,
            ended,
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(SOON)
                .build()
                .unwrap(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(self.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn post(&self, path: &str, body: &'static str) -> String {
        let request = self.client.post(self.url(path)).body(body);
        request.send().await.unwrap().text().await.unwrap()
    }
}

#[tokio::test]
async fn it_says_who_answers() {
    let app = Served::start().await;
    assert_eq!(
        app.get("/").await,
        (200, "v7 hello from demo on no-node (app demo)\n".to_owned())
    );
    assert_eq!(app.get("/any/path").await.0, 200);
    assert_eq!(app.post("/echo", "back to me").await, "back to me");
    assert!(app.get("/env").await.1.lines().any(|name| name == "PATH"));
    assert_eq!(app.get("/log?line=x").await.1, "logged\n");
}

#[tokio::test]
async fn health_fails_on_demand() {
    let app = Served::start().await;
    assert_eq!(app.get("/healthz").await.0, 200);
    assert_eq!(app.get("/fail-health").await.0, 405);
    app.post("/fail-health", "").await;
    assert_eq!(app.get("/healthz").await.0, 503);
    app.post("/pass-health", "").await;
    assert_eq!(app.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn slow_and_streamed_answers_take_their_time() {
    let app = Served::start().await;
    let begin = tokio::time::Instant::now();
    assert_eq!(app.get("/slow?ms=150").await.0, 200);
    assert!(begin.elapsed() >= Duration::from_millis(150));
    let (_, text) = app.get("/stream?chunks=4&ms=10").await;
    let firsts: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(firsts, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn answers_after_sigterm_are_marked_and_close() {
    let app = Served::start().await;
    let before = app.client.get(app.url("/")).send().await.unwrap();
    assert!(!before.headers().contains_key("x-after-sigterm"));
    app.state.note_sigterm();
    app.state.enter(Phase::Draining);
    let after = app.client.get(app.url("/")).send().await.unwrap();
    assert_eq!(after.headers()["x-after-sigterm"], "1");
    assert_eq!(after.headers()["connection"], "close");
}

#[tokio::test]
async fn stopping_finishes_open_requests_and_closes_idle_connections() {
    let app = Served::start().await;
    let mut idle = TcpStream::connect(app.http).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 15];
    idle.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let mut open = app
        .client
        .get(app.url("/stream?chunks=20&ms=20"))
        .send()
        .await
        .unwrap();
    let first = open.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"0 "));
    app.stop.send(()).unwrap();
    let rest = open.text().await.unwrap();
    assert!(rest.lines().last().unwrap().starts_with("19 "), "{rest}");
    let mut left = Vec::new();
    timeout(SOON, idle.read_to_end(&mut left))
        .await
        .unwrap()
        .unwrap();
    timeout(SOON, app.ended).await.unwrap().unwrap();
    assert!(TcpStream::connect(app.http).await.is_err());
}

#[tokio::test]
async fn a_websocket_echoes_and_is_told_when_the_app_goes() {
    let app = Served::start().await;
    let (mut socket, response) = tokio_tungstenite::connect_async(format!("ws://{}/ws", app.http))
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 101);
    for message in [Message::text("hello"), Message::binary(vec![1, 2, 3])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(
            timeout(SOON, socket.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap(),
            message
        );
    }
    app.stop.send(()).unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = timeout(SOON, socket.next()).await.unwrap() else {
        panic!("not told");
    };
    assert_eq!(frame.code, CloseCode::Away);
    while timeout(SOON, socket.next()).await.unwrap().is_some() {}
    timeout(SOON, app.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_plain_request_is_no_websocket() {
    let app = Served::start().await;
    assert_eq!(app.get("/ws").await.0, 426);
}

#[tokio::test]
async fn tcp_is_echoed_until_the_client_is_done() {
    let app = Served::start().await;
    let mut stream = TcpStream::connect(app.echo).await.unwrap();
    stream.write_all(b"bytes").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    timeout(SOON, stream.read_to_end(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(back, b"bytes");
}
