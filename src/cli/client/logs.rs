//! The stream of an app's log lines.

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use hancock_proto::hub::LogLine;
use hancock_proto::ids::AppName;
use hancock_proto::time::Timestamp;
use reqwest::Method;

use super::{Client, ClientError};

/// Longest line accepted; more is not a log line but a broken stream.
const LONGEST: usize = 4 << 20;

/// Which lines.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Go on with new lines.
    pub follow: bool,
    /// Only the last so many lines of each instance.
    pub tail: Option<usize>,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
}

impl LogQuery {
    fn text(&self) -> String {
        let mut query = format!("follow={}", self.follow);
        if let Some(tail) = self.tail {
            query += &format!("&tail={tail}");
        }
        if let Some(Timestamp(since)) = self.since {
            query += &format!("&since={since}");
        }
        query
    }
}

/// Lines as they arrive.
pub struct LogLines {
    client: Client,
    chunks: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    rest: BytesMut,
    ended: bool,
}

impl Client {
    /// Log lines of all instances of `app`. Followed streams have no deadline: silence is normal.
    ///
    /// # Errors
    /// The master cannot be reached, or refuses.
    pub async fn logs(&self, app: &AppName, query: &LogQuery) -> Result<LogLines, ClientError> {
        let path = format!("/v1/apps/{app}/logs?{}", query.text());
        let mut silent = Vec::new();
        let response = loop {
            match self.open_logs(&path).await {
                Err(error @ ClientError::Unreachable { .. }) => self.after(error, &mut silent)?,
                opened => break opened?,
            }
        };
        Ok(LogLines {
            client: self.clone(),
            chunks: Box::pin(response.bytes_stream()),
            rest: BytesMut::new(),
            ended: false,
        })
    }

    async fn open_logs(&self, path: &str) -> Result<reqwest::Response, ClientError> {
        let opened = self.opened(self.request(Method::GET, path)?);
        let opened = tokio::time::timeout(self.patience(), opened).await;
        opened.map_err(|_| self.late())?
    }
}

impl LogLines {
    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or what came is not a log line.
    pub async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        loop {
            match self.buffered()? {
                Some(line) => return Ok(Some(line)),
                None if self.ended => return Ok(None),
                None => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<(), ClientError> {
        match self.chunks.next().await {
            Some(Ok(chunk)) => self.rest.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(self.client.unreachable(error)),
            None => {
                self.ended = true;
                self.rest.extend_from_slice(b"\n");
            }
        }
        match self.rest.len() > LONGEST {
            true => Err(self.client.unreadable("", "a log line without an end")),
            false => Ok(()),
        }
    }

    fn buffered(&mut self) -> Result<Option<LogLine>, ClientError> {
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line = self.rest.split_to(end);
            self.rest.advance(1);
            if line.trim_ascii().is_empty() {
                continue;
            }
            let line = serde_json::from_slice(&line);
            return line
                .map(Some)
                .map_err(|e| self.client.unreadable("/v1/…/logs", &e.to_string()));
        }
        Ok(None)
    }
}
