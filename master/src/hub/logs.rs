//! Log requests over a session, many at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hancock_proto::hub::{HubMessage, LogChunk, LogRequest};
use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;
use tokio::sync::mpsc;

/// Chunks that may wait for one reader; a slower one is cut off.
const QUEUE: usize = 64;
/// Logs read over one session at a time.
const MAX_OPEN: usize = 256;

/// Which log, from where.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) instance: InstanceId,
    pub(crate) follow: bool,
    pub(crate) tail: Option<usize>,
    pub(crate) since: Option<Timestamp>,
}

/// Requests open on one session.
#[derive(Default)]
pub(super) struct Requests {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    open: BTreeMap<u64, mpsc::Sender<LogChunk>>,
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a request. None: too many are open, or the session's queue is full.
    pub(super) fn open(
        self: &Arc<Self>,
        wanted: Wanted,
        out: mpsc::Sender<HubMessage>,
    ) -> Option<LogStream> {
        let (tx, chunks) = mpsc::channel(QUEUE);
        let id = {
            let mut inner = self.lock();
            if inner.open.len() >= MAX_OPEN {
                return None;
            }
            inner.next += 1;
            let id = inner.next;
            inner.open.insert(id, tx);
            id
        };
        let stream = LogStream {
            id,
            chunks,
            requests: self.clone(),
            out: out.clone(),
        };
        let request = HubMessage::Logs(LogRequest {
            id,
            instance: wanted.instance,
            follow: wanted.follow,
            tail: wanted.tail,
            since: wanted.since,
        });
        out.try_send(request).ok()?;
        Some(stream)
    }

    /// Gives a chunk to its reader. False: nobody reads it any more, the node may stop.
    pub(super) fn deliver(&self, chunk: LogChunk) -> bool {
        let (id, ended) = (chunk.id, chunk.end.is_some());
        let mut inner = self.lock();
        let Some(reader) = inner.open.get(&id) else {
            return ended;
        };
        let taken = reader.try_send(chunk).is_ok();
        if ended || !taken {
            inner.open.remove(&id);
        }
        taken || ended
    }

    /// The session is over: every reader's stream ends.
    pub(super) fn clear(&self) {
        self.lock().open.clear();
    }
}

/// One instance's log; dropping it ends the request.
pub(crate) struct LogStream {
    id: u64,
    chunks: mpsc::Receiver<LogChunk>,
    requests: Arc<Requests>,
    out: mpsc::Sender<HubMessage>,
}

impl LogStream {
    /// The next chunk; None: the session or this reader was cut off.
    pub(crate) async fn next(&mut self) -> Option<LogChunk> {
        self.chunks.recv().await
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        if self.requests.lock().open.remove(&self.id).is_some() {
            // Full: the node learns it from the answer to its next chunk.
            drop(self.out.try_send(HubMessage::LogsEnd { id: self.id }));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            instance: "web-1".parse().unwrap(),
            follow: true,
            tail: None,
            since: None,
        }
    }

    fn chunk(id: u64) -> LogChunk {
        LogChunk {
            id,
            lines: Vec::new(),
            end: None,
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_cut_off() {
        let requests = Arc::<Requests>::default();
        let (out, _messages) = mpsc::channel(1);
        let mut log = requests.open(wanted(), out).unwrap();
        for _ in 0..QUEUE {
            assert!(requests.deliver(chunk(log.id)));
        }
        assert!(!requests.deliver(chunk(log.id)), "the node is told to stop");
        for _ in 0..QUEUE {
            assert!(log.next().await.is_some(), "what was taken is delivered");
        }
        assert!(log.next().await.is_none(), "and then the log is over");
    }

    #[tokio::test]
    async fn a_session_carries_so_many_logs_at_a_time() {
        let requests = Arc::<Requests>::default();
        let (out, _messages) = mpsc::channel(2 * MAX_OPEN);
        let open = || requests.open(wanted(), out.clone());
        let mut logs: Vec<_> = (0..MAX_OPEN).map(|_| open().unwrap()).collect();
        assert!(open().is_none());
        drop(logs.pop());
        assert!(open().is_some(), "a log that nobody reads makes room");
    }

    #[tokio::test]
    async fn a_session_that_takes_no_messages_is_asked_for_nothing() {
        let requests = Arc::<Requests>::default();
        let (out, _messages) = mpsc::channel(1);
        let first = requests.open(wanted(), out.clone());
        assert!(requests.open(wanted(), out).is_none());
        assert_eq!(
            requests.lock().open.len(),
            1,
            "what was not asked for is not kept"
        );
        drop(first);
        assert!(requests.lock().open.is_empty());
    }
}
