//! The thread that writes: whatever has gathered goes out with one flush. A document that is replaced before it was written is never
//! written, so what waits is bounded by the number of services.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hancock_proto::upstream::UpstreamDoc;

use super::Log;

const COMPACT_ABOVE: u64 = 1 << 20;
const RETRY: Duration = Duration::from_secs(1);

type Changes = BTreeMap<String, (u64, Option<Arc<UpstreamDoc>>)>;

#[derive(Default)]
struct Queue {
    changes: Changes,
    sequence: u64,
    closed: bool,
}

/// A door to the writing thread.
pub(crate) struct Writer {
    shared: Arc<(Mutex<Queue>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Starts the thread. `durable` is told which change of which service is on disk.
    pub(crate) fn start(
        log: Log,
        durable: impl Fn(&str, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::<(Mutex<Queue>, Condvar)>::default();
        let mine = shared.clone();
        let thread = std::thread::Builder::new()
            .name("last-good".to_owned())
            .spawn(move || run(log, &mine, durable))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Hands a change over; answers its number.
    pub(crate) fn write(&self, name: &str, doc: Option<Arc<UpstreamDoc>>) -> u64 {
        let mut queue = lock(&self.shared.0);
        queue.sequence += 1;
        let sequence = queue.sequence;
        queue.changes.insert(name.to_owned(), (sequence, doc));
        self.shared.1.notify_one();
        sequence
    }

    /// Writes what is left and ends the thread.
    pub(crate) fn close(&self) {
        lock(&self.shared.0).closed = true;
        self.shared.1.notify_one();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_some_and(|t| t.join().is_err()) {
            tracing::error!("the thread that writes last known good documents had panicked");
        }
    }
}

fn run(mut log: Log, shared: &(Mutex<Queue>, Condvar), durable: impl Fn(&str, u64)) {
    while let Some(changes) = next(shared) {
        let plain = changes
            .iter()
            .map(|(n, (_, doc))| (n.clone(), doc.clone()))
            .collect();
        match log.write(&plain) {
            Ok(()) => changes
                .iter()
                .for_each(|(name, (seq, _))| durable(name, *seq)),
            Err(error) => {
                tracing::error!(%error, services = changes.len(), "cannot write last known good documents; nothing is confirmed, trying again");
                if !put_back(shared, changes) {
                    return;
                }
            }
        }
        compact(&mut log);
    }
}

/// Everything that has gathered; None: closed and empty.
fn next(shared: &(Mutex<Queue>, Condvar)) -> Option<Changes> {
    let idle = |q: &mut Queue| q.changes.is_empty() && !q.closed;
    let queue = shared.1.wait_while(lock(&shared.0), idle);
    let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
    (!queue.changes.is_empty()).then(|| std::mem::take(&mut queue.changes))
}

/// After a failed write: what was not replaced meanwhile waits for the next try. False: closed, there is none.
fn put_back(shared: &(Mutex<Queue>, Condvar), changes: Changes) -> bool {
    let mut queue = lock(&shared.0);
    for (name, change) in changes {
        queue.changes.entry(name).or_insert(change);
    }
    let waited = shared.1.wait_timeout_while(queue, RETRY, |q| !q.closed);
    let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
    !queue.closed
}

fn compact(log: &mut Log) {
    // Four times what was good last time: most of the log is past.
    if log.length > COMPACT_ABOVE.max(log.compacted * 4)
        && let Err(error) = log.compact()
    {
        tracing::warn!(%error, "cannot compact the last known good documents; the log goes on growing");
    }
}
