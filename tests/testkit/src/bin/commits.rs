//! Writers that each wait for their write to be durable before the next one: at a master's API, or at an etcd.
//!
//! ```text
//! commits hancock ADDR TOKEN WRITERS SECONDS     zones, one per writer, changed again and again
//! commits etcd ADDR - WRITERS SECONDS            keys, one per writer, with values as large as those zones
//! ```
//!
//! Prints writes a second, and the median and 99th percentile of one in milliseconds.

use std::time::Duration;

use anyhow::{Context, bail};
use etcd_client::{Client, KvClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Connections of all writers to an etcd: each carries many calls at once.
const CONNECTIONS: usize = 16;
/// Longest one write may take.
const LONGEST: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [kind, address, token, writers, seconds] = words[..] else {
        bail!("commits hancock|etcd ADDR TOKEN WRITERS SECONDS");
    };
    let (writers, seconds): (usize, f64) = (writers.parse()?, seconds.parse()?);
    let mut tasks = Vec::new();
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let begun = Instant::now();
    match kind {
        "hancock" => {
            for n in 0..writers {
                let writer = Api::connect(address, token, n).await?;
                tasks.push(tokio::spawn(writer.write(until)));
            }
        }
        "etcd" => {
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS.min(writers) {
                connections.push(Client::connect([address], None).await?.kv_client());
            }
            for n in 0..writers {
                let client = connections[n % connections.len()].clone();
                tasks.push(tokio::spawn(put(client, n, until)));
            }
        }
        other => bail!("{other} is neither hancock nor etcd"),
    }
    let mut times: Vec<Duration> = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let took = begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| {
        let last = times.len().saturating_sub(1) as f64;
        times
            .get((last * share) as usize)
            .map_or(0.0, |t| t.as_secs_f64() * 1e3)
    };
    println!(
        "{:.0} {:.3} {:.3}",
        times.len() as f64 / took,
        at(0.5),
        at(0.99)
    );
    Ok(())
}

/// What is written the `turn`th time: about 100 bytes.
fn value(n: usize, turn: usize) -> String {
    let label = "x".repeat(40);
    format!(
        r#"{{"selector":{{"writer":"w{n}","turn":"{label}"}},"external_settle":"{}s"}}"#,
        turn % 60 + 1
    )
}

async fn put(mut client: KvClient, n: usize, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        let written = client.put(format!("bench/w{n}"), value(n, times.len()), None);
        tokio::time::timeout(LONGEST, written).await??;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// One writer's connection to an API.
struct Api {
    stream: TcpStream,
    token: String,
    number: usize,
    /// What has come of an answer.
    answer: Vec<u8>,
}

/// Room for an answer, so that one look at the socket suffices.
const ROOM: usize = 4096;

impl Api {
    async fn connect(address: &str, token: &str, number: usize) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let token = token.to_owned();
        Ok(Self {
            stream,
            token,
            number,
            answer: Vec::with_capacity(ROOM),
        })
    }

    async fn write(mut self, until: Instant) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            tokio::time::timeout(LONGEST, self.put(times.len())).await??;
            times.push(begun.elapsed());
        }
        Ok(times)
    }

    async fn put(&mut self, turn: usize) -> anyhow::Result<()> {
        let body = value(self.number, turn);
        let request = format!(
            "PUT /v1/zones/w{} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.number,
            self.token,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        let end = loop {
            if let Some(at) = self.answer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = std::str::from_utf8(&self.answer[..end])?;
        let done = head.starts_with("HTTP/1.1 200");
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let length: usize = length.context("an answer without a length")?.parse()?;
        while self.answer.len() < end + length {
            self.more().await?;
        }
        if !done {
            bail!("{}", String::from_utf8_lossy(&self.answer));
        }
        Ok(())
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        match self.stream.read_buf(&mut self.answer).await? {
            0 => bail!("the connection was closed"),
            _ => Ok(()),
        }
    }
}
