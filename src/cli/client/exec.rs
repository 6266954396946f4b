//! The WebSocket of a command inside an instance, or of a job.

use hancock_proto::exec::Order;
use hancock_proto::ids::{AppName, InstanceId};
use hancock_proto::units::Span;
use reqwest::{Method, StatusCode, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Client, ClientError};

/// A WebSocket over whatever the client speaks with the master.
pub type Socket = WebSocketStream<Upgraded>;

impl Client {
    /// Asks for a command inside an instance.
    ///
    /// # Errors
    /// The master cannot be reached, or refuses.
    pub async fn exec(&self, instance: &InstanceId, order: &Order) -> Result<Socket, ClientError> {
        let path = format!("/v1/instances/{instance}/exec");
        self.begun(&path, order).await
    }

    /// Asks for a job of an app, which may wait so long for an instance.
    ///
    /// # Errors
    /// The master cannot be reached, or refuses.
    pub async fn run_job(
        &self,
        app: &AppName,
        wait: Span,
        order: &Order,
    ) -> Result<Socket, ClientError> {
        let path = format!("/v1/apps/{app}/run?wait={wait}");
        self.begun(&path, order).await
    }

    async fn begun(&self, path: &str, order: &Order) -> Result<Socket, ClientError> {
        let mut silent = Vec::new();
        let upgraded = loop {
            let opened = tokio::time::timeout(self.patience(), self.upgraded(path)).await;
            match opened.map_err(|_| self.late()).and_then(|opened| opened) {
                Err(error @ ClientError::Unreachable { .. }) => self.after(error, &mut silent)?,
                opened => break opened?,
            }
        };
        let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
        // Of plain data, so there is nothing that could not be written.
        let order = serde_json::to_string(order).unwrap_or_default();
        let sent = futures::SinkExt::send(&mut socket, Message::text(order)).await;
        sent.map_err(|error| self.broken(&error))?;
        Ok(socket)
    }

    async fn upgraded(&self, path: &str) -> Result<Upgraded, ClientError> {
        let key = generate_key();
        let request = self
            .request(Method::GET, path)?
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let response = request.send().await.map_err(|e| self.unreachable(e))?;
        let (status, headers) = (response.status(), response.headers());
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let body = response.bytes().await.map_err(|e| self.unreachable(e))?;
            return Err(self.refusal(status, &body));
        }
        let accepted = headers.get(SEC_WEBSOCKET_ACCEPT);
        if accepted.is_none_or(|accepted| *accepted != derive_accept_key(key.as_bytes())) {
            return Err(self.unreadable(path, "an answer to another handshake"));
        }
        response.upgrade().await.map_err(|e| self.unreachable(e))
    }

    /// What to say of a connection that broke off.
    pub fn broken(&self, error: &Error) -> ClientError {
        let url = self.url();
        let reason = error.to_string();
        ClientError::Unreachable { url, reason }
    }
}
