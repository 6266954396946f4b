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
    pub(in crate::http) async fn refuse(mut self: Box<Self>, refusal: Refusal) {
        let answer = page::whole(refusal.status, refusal.reason);
        let told = async {
            self.stream.write_all(&answer).await?;
            self.stream.shutdown().await?;
            let mut rest = (&mut self.stream).take(THROWN_AWAY);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        if let Ok(Err(error)) = timeout(LINGER, told).await {
            tracing::trace!(%error, "a client was gone before it could be told");
        }
    }
}
