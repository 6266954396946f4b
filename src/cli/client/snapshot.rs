//! The cluster's snapshot, piece by piece.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::Method;

use super::{ANSWER, Client, ClientError};

/// Pieces as they arrive.
pub struct Pieces {
    client: Client,
    chunks: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
}

impl Client {
    /// The snapshot of the whole cluster, as of now.
    ///
    /// # Errors
    /// The master cannot be reached, or refuses.
    pub async fn snapshot(&self) -> Result<Pieces, ClientError> {
        let opened = self.opened(self.request(Method::GET, "/v1/snapshot")?);
        let opened = tokio::time::timeout(ANSWER, opened).await;
        let response = opened.map_err(|_| self.late())??;
        Ok(Pieces {
            client: self.clone(),
            chunks: Box::pin(response.bytes_stream()),
        })
    }
}

impl Pieces {
    /// The next piece; `None` at the end. Whether it is the end of the snapshot, its reader finds out.
    ///
    /// # Errors
    /// The connection broke, or was silent for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let next = tokio::time::timeout(ANSWER, self.chunks.next()).await;
        let next = next.map_err(|_| self.client.late())?;
        next.transpose().map_err(|e| self.client.unreachable(e))
    }
}
