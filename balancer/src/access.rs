//! A record of every request: shipped as JSON lines to the upstream `logger`, and written to a file or to standard output.
//!
//! Requests only put a finished line into a bounded queue; when it is full, records are dropped and counted.

mod glimpse;
mod lines;
mod queue;
mod record;
mod ship;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::live::Table;
use glimpse::Glimpse;
use queue::Queue;

pub(crate) use record::{Record, Trace};

/// The upstream that records are shipped to.
pub(crate) const LOGGER: &str = "logger";
/// Time for what is left when everything ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where records go.
#[derive(Debug, Clone, Default)]
pub struct AccessOptions {
    /// The upstream `logger` at the start: host and port of a collector of lines over TCP. None: whatever document there is.
    pub collector: Option<(String, u16)>,
    /// Where lines are written as well.
    pub lines: Option<Lines>,
}

/// Where lines are written.
#[derive(Debug, Clone)]
pub enum Lines {
    /// To standard output.
    Stdout,
    /// Appended to a file, which is opened anew when it was moved away.
    File(PathBuf),
}

/// Takes records; shared by all data threads.
pub(crate) struct Access {
    shipped: Arc<Queue>,
    written: Option<Arc<Queue>>,
    /// There is an upstream to ship to.
    collecting: Arc<AtomicBool>,
    node: String,
}

/// What carries records away.
pub(crate) struct Carriers {
    access: Arc<Access>,
    shipper: JoinHandle<()>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Carriers {
    /// Starts carrying; `table` tells where the collector is.
    pub(crate) fn start(lines: Option<Lines>, table: Arc<Table>) -> std::io::Result<Self> {
        let shipped = Arc::new(Queue::default());
        let collecting = Arc::new(AtomicBool::new(table.find(LOGGER).is_some()));
        let shipper = ship::Shipper::new(table, shipped.clone(), collecting.clone());
        let written = lines.as_ref().map(|_| Arc::new(Queue::default()));
        let writer = match (lines, &written) {
            (Some(lines), Some(queue)) => Some(lines::start(lines, queue.clone())?),
            _ => None,
        };
        let access = Access {
            shipped,
            written,
            collecting,
            node: host_name(),
        };
        Ok(Self {
            access: Arc::new(access),
            shipper: tokio::spawn(shipper.run()),
            writer,
        })
    }

    pub(crate) fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Carries away what is left, for a moment.
    pub(crate) async fn shutdown(self) {
        self.access.shipped.close();
        let end = self.shipper.abort_handle();
        if tokio::time::timeout(LAST_WORDS, self.shipper)
            .await
            .is_err()
        {
            end.abort();
        }
        let (Some(queue), Some(writer)) = (&self.access.written, self.writer) else {
            return;
        };
        queue.close();
        let ended = tokio::task::spawn_blocking(move || writer.join());
        if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
            tracing::warn!("access records could not all be written");
        }
    }
}

impl Access {
    /// Whether anybody wants records.
    pub(crate) fn is_wanted(&self) -> bool {
        self.written.is_some() || self.collecting.load(Ordering::Relaxed)
    }

    /// Takes a record; never waits.
    pub(crate) fn take(&self, record: &Record<'_>) {
        let line = record.line(&self.node);
        if self.collecting.load(Ordering::Relaxed) {
            self.shipped.push(&line);
        }
        if let Some(written) = &self.written {
            written.push(&line);
        }
    }

    /// Takes a record of a request that was refused before it was one.
    pub(crate) fn refused(&self, client: SocketAddr, status: u16, text: &[u8]) {
        if self.is_wanted() {
            self.take(&Record::refused(client, status, &Glimpse::of(text)));
        }
    }

    /// Records dropped because nobody carried them away.
    pub(crate) fn dropped(&self) -> [(&'static str, &AtomicU64); 2] {
        let written = self.written.as_ref().unwrap_or(&self.shipped);
        [
            ("collector", self.shipped.dropped()),
            ("lines", written.dropped()),
        ]
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "-".to_owned(), |name| name.trim().to_owned())
}
