//! `/ws`: says back what it hears.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_util::task::TaskTracker;

use super::routes::{Body, text};
use super::state::State;

/// Time a client has to answer the closing of a session.
const GOODBYE: Duration = Duration::from_secs(5);

/// Answers the handshake and goes on in a task of `sessions`.
pub fn upgrade(
    request: Request<Incoming>,
    state: Arc<State>,
    sessions: &TaskTracker,
) -> Response<Body> {
    let Some(accept) = accepts(request.headers()) else {
        return text(StatusCode::UPGRADE_REQUIRED, "this path speaks WebSocket\n");
    };
    sessions.spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            converse(upgraded, &state).await;
        }
    });
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The handshake's answer, when the request is one.
fn accepts(headers: &HeaderMap) -> Option<HeaderValue> {
    let websocket = headers
        .get(UPGRADE)
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| websocket)?;
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

async fn converse(upgraded: Upgraded, state: &State) {
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    tokio::select! {
        () = echo(&mut socket) => {}
        () = state.closing() => drop(tokio::time::timeout(GOODBYE, goodbye(&mut socket)).await),
    }
}

async fn echo(socket: &mut WebSocketStream<TokioIo<Upgraded>>) {
    while let Some(Ok(message)) = socket.next().await {
        // Pings and closings are answered by the library.
        let is_data = message.is_text() || message.is_binary();
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Says that the app goes away (1001) and waits for the client's answer.
async fn goodbye(socket: &mut WebSocketStream<TokioIo<Upgraded>>) {
    let frame = CloseFrame {
        code: CloseCode::Away,
        reason: "stopping".into(),
    };
    if socket.send(Message::Close(Some(frame))).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}
