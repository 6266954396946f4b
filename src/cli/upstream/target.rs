//! The running balancer, through its management interfaces.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::source::Side;
use crate::cli::client::ClientError;

/// To open a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// For a whole exchange.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest reply of the framed protocol to a document.
const MOST: u32 = 1 << 20;

/// Why a document was not taken, in the balancer's words.
#[derive(Debug, PartialEq)]
pub struct Refused(pub String);

/// Where documents are put.
pub struct Target {
    http: reqwest::Client,
    base: Url,
    stream: String,
    token: Option<String>,
}

impl Target {
    /// The management API at `admin`, the framed protocol at `stream`.
    ///
    /// # Errors
    /// `admin` is no address.
    pub fn new(admin: &str, stream: &str, token: Option<String>) -> anyhow::Result<Self> {
        let admin = admin.trim_start_matches("http://").trim_end_matches('/');
        let base = Url::parse(&format!("http://{admin}/")).with_context(|| {
            format!("{admin:?} is not the address of a balancer; write it like 127.0.0.1:1995")
        })?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .no_proxy();
        Ok(Self {
            http: http
                .timeout(ANSWER)
                .build()
                .context("cannot make an HTTP client")?,
            base,
            stream: stream.to_owned(),
            token,
        })
    }

    /// Puts a document in its full form.
    ///
    /// # Errors
    /// Nobody answers there, or not as a balancer does.
    pub async fn put(
        &self,
        side: Side,
        name: &str,
        document: &str,
    ) -> anyhow::Result<Result<(), Refused>> {
        match side {
            Side::Http => self.put_http(name, document).await,
            Side::Tcp => {
                let talk = timeout(ANSWER, self.put_tcp(name, document));
                let replied = talk.await.unwrap_or_else(|_| Err(late()));
                replied.map_err(|error| self.unreachable(&self.stream, "--to-stream", &error))
            }
        }
    }

    async fn put_http(&self, name: &str, document: &str) -> anyhow::Result<Result<(), Refused>> {
        let unreachable = |e: reqwest::Error| self.unreachable(self.base.as_str(), "--to", &e);
        let url = self.base.join(&format!("upstream/{name}"))?;
        let mut request = self.http.put(url).body(document.to_owned());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        Ok(match status {
            StatusCode::OK => Ok(()),
            _ => Err(Refused(told(status, &body))),
        })
    }

    async fn put_tcp(&self, name: &str, document: &str) -> std::io::Result<Result<(), Refused>> {
        let connecting = timeout(CONNECT, TcpStream::connect(&self.stream));
        let mut stream = connecting.await.unwrap_or_else(|_| Err(late()))?;
        let length = u32::try_from(document.len()).unwrap_or(u32::MAX);
        let line = format!("PUT upstream {name}\n");
        let command = [line.as_bytes(), &length.to_be_bytes(), document.as_bytes()].concat();
        stream.write_all(&command).await?;
        let length = stream.read_u32().await?;
        let code = stream.read_u32().await?;
        let mut text = Vec::new();
        let rest = u64::from(length.clamp(4, MOST) - 4);
        stream.take(rest).read_to_end(&mut text).await?;
        Ok(match code {
            0 => Ok(()),
            _ => Err(Refused(String::from_utf8_lossy(&text).into_owned())),
        })
    }

    fn unreachable(&self, at: &str, flag: &str, error: &dyn std::error::Error) -> anyhow::Error {
        let mut inner = error;
        while let Some(source) = inner.source() {
            inner = source;
        }
        ClientError::Balancer {
            at: at.to_owned(),
            flag: flag.to_owned(),
            reason: inner.to_string().to_lowercase(),
        }
        .into()
    }
}

fn late() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time")
}

/// The balancer's words, or what there is instead.
fn told(status: StatusCode, body: &[u8]) -> String {
    let reply: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = reply["msg"].as_str().map(str::to_owned);
    said.unwrap_or_else(|| format!("status {status}"))
}
