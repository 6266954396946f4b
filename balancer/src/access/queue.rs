//! Lines that wait to be carried away; as many as fit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Carried away as soon as so much is there.
const ENOUGH: usize = 4096;
/// More than this never waits.
const MOST: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// For a task that carries.
    enough: Notify,
    /// For a thread that carries.
    enough_for_thread: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    closed: bool,
}

impl Queue {
    /// Takes one line, or drops it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut inner = self.lock();
        if inner.closed || inner.bytes.len() + line.len() > MOST {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = inner.bytes.len();
        inner.bytes.extend_from_slice(line);
        let reached = before < ENOUGH && inner.bytes.len() >= ENOUGH;
        drop(inner);
        if reached {
            self.enough.notify_one();
            self.enough_for_thread.notify_one();
        }
    }

    /// Everything that waits, after at most `wait`; None: closed and empty.
    pub(super) async fn next(&self, wait: Duration) -> Option<Vec<u8>> {
        if !self.lock().closed {
            // In either case what is there is taken.
            let _ = tokio::time::timeout(wait, self.enough.notified()).await;
        }
        self.take()
    }

    /// The same for a thread.
    pub(super) fn next_blocking(&self, wait: Duration) -> Option<Vec<u8>> {
        let scarce = |inner: &mut Inner| !inner.closed && inner.bytes.len() < ENOUGH;
        let enough = &self.enough_for_thread;
        let waited = enough.wait_timeout_while(self.lock(), wait, scarce);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.take()
    }

    /// What could not be carried away goes back to the front.
    pub(super) fn put_back(&self, mut bytes: Vec<u8>) {
        let mut inner = self.lock();
        bytes.append(&mut inner.bytes);
        inner.bytes = bytes;
    }

    /// Nothing is taken in any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.enough.notify_one();
        self.enough_for_thread.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn dropped(&self) -> &AtomicU64 {
        &self.dropped
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut inner = self.lock();
        let bytes = std::mem::take(&mut inner.bytes);
        (!bytes.is_empty() || !inner.closed).then_some(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let queue = Queue::default();
        let line = vec![b'x'; MOST / 2];
        (0..3).for_each(|_| queue.push(&line));
        assert_eq!(queue.dropped().load(Ordering::Relaxed), 1);
        let all = queue.next_blocking(Duration::ZERO).expect("open");
        assert_eq!(all.len(), MOST);
        queue.put_back(b"first".to_vec());
        queue.push(b"second");
        queue.close();
        assert_eq!(
            queue.next_blocking(Duration::ZERO).as_deref(),
            Some(&b"firstsecond"[..])
        );
        assert_eq!(queue.next_blocking(Duration::ZERO), None);
    }
}
