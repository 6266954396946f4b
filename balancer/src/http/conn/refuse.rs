//! Telling a client that its request is not served, on a connection that goes no further.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use hancock_balancer_core::head::Refusal;

use super::Conn;
use crate::http::page;

/// For the answer to leave, and for the client to stop sending.
const LINGER: Duration = Duration::from_secs(1);
/// Most bytes read and thrown away, so that the answer is not lost to a reset.
const THROWN_AWAY: u64 = 1 << 20;

impl Conn {
    /// Answers and closes.
    pub(in crate::http) async fn refuse(&mut self, refusal: Refusal) {
        self.last_word(&page::whole(refusal.status, refusal.reason))
            .await;
    }

    /// Sends a whole answer and closes.
    pub(in crate::http) async fn last_word(&mut self, answer: &[u8]) {
        let told = async {
            self.stream.write_all(answer).await?;
            self.stream.shutdown().await
        };
        match timeout(LINGER, told).await {
            Ok(Ok(())) => self.linger().await,
            Ok(Err(error)) => {
                tracing::trace!(%error, "a client was gone before it could be told");
            }
            Err(_) => {}
        }
    }

    /// Reads what the client still sends after it was told.
    pub(super) async fn linger(&mut self) {
        let mut rest = (&mut self.stream).take(THROWN_AWAY);
        let mut nowhere = tokio::io::sink();
        let ended = tokio::io::copy(&mut rest, &mut nowhere);
        if let Ok(Err(error)) = timeout(LINGER, ended).await {
            tracing::trace!(%error, "a client was gone before its connection was closed");
        }
    }
}
