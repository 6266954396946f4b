//! Ships lines to a peer of the upstream `logger`, over one connection that is kept.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::pick::{self, Tried};

use super::LOGGER;
use super::queue::Queue;
use crate::chance::random;
use crate::control::now;
use crate::live::Table;

/// Lines wait no longer than this.
const FLUSH: Duration = Duration::from_secs(1);
/// Tries per flush, and the time between them.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);
/// For a connection to open, and for a flush to leave.
const LIMIT: Duration = Duration::from_secs(3);

pub(super) struct Shipper {
    table: Arc<Table>,
    queue: Arc<Queue>,
    collecting: Arc<AtomicBool>,
    connection: Option<TcpStream>,
    /// The last flush failed, which was told.
    failing: bool,
}

impl Shipper {
    pub(super) fn new(table: Arc<Table>, queue: Arc<Queue>, collecting: Arc<AtomicBool>) -> Self {
        Self {
            table,
            queue,
            collecting,
            connection: None,
            failing: false,
        }
    }

    /// Until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        while let Some(lines) = self.queue.next(FLUSH).await {
            let wanted = self.table.find(LOGGER).is_some();
            self.collecting.store(wanted, Ordering::Relaxed);
            if lines.is_empty() || !wanted {
                continue;
            }
            if let Err(error) = self.flush(&lines).await {
                self.failed(&error);
                if self.queue.is_closed() {
                    return;
                }
                self.queue.put_back(lines);
                sleep(FLUSH).await;
            } else if std::mem::take(&mut self.failing) {
                tracing::info!("access records reach their collector again");
            }
        }
    }

    async fn flush(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.send(lines).await {
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => sleep(PAUSE).await,
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn send(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut connection = match self.connection.take().filter(is_open) {
            Some(open) => open,
            None => within(TcpStream::connect(self.collector()?)).await?,
        };
        // After a failure nobody knows how much arrived: the lines go again, over a new connection.
        within(connection.write_all(lines)).await?;
        self.connection = Some(connection);
        Ok(())
    }

    fn collector(&self) -> io::Result<SocketAddr> {
        let nobody = || io::Error::new(io::ErrorKind::NotFound, "no peer of the upstream logger");
        let phase = self.table.find(LOGGER).ok_or_else(nobody)?.load();
        let key = RequestKey {
            target: b"/",
            client: None,
            header: None,
        };
        let chosen = pick::pick(&phase.view, &key, &Tried::default(), now(), random());
        let at = chosen.ok_or_else(nobody)?;
        phase.dials[at].address().ok_or_else(nobody)
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "access records do not reach their collector, keeping what fits");
        }
    }
}

/// A collector never says anything; what can be read is its end.
fn is_open(connection: &TcpStream) -> bool {
    let mut byte = [0];
    matches!(connection.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

async fn within<T>(deed: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(LIMIT, deed)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
