//! A full disk is waited out: what does not fit is written when there is room again, and nobody is answered before.
//!
//! Whoever wants to write asks [`Room::full`] first. All other mistakes of the disk pass through.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Files;

/// Time between two looks whether there is room.
const LOOK: Duration = Duration::from_millis(250);

/// A disk without room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Full {
    /// What could not be written.
    pub(crate) path: PathBuf,
    /// Since when.
    pub(crate) since: Instant,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no room for {} since {:.0?}: nothing is written before there is; make room on that disk",
            self.path.display(),
            self.since.elapsed()
        )
    }
}

/// Whether there is room. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    full: Option<Full>,
    /// Nobody waits any more.
    closed: bool,
}

impl Room {
    /// Since when there is no room, and for what.
    pub(crate) fn full(&self) -> Option<Full> {
        self.lock().full.clone()
    }

    /// Ends all waiting: what does not fit is an error from now on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `path` does not fit, and waits a little; false: waiting is over.
    fn wait(&self, path: PathBuf) -> bool {
        let mut state = self.lock();
        if state.full.is_none() {
            tracing::error!(file = %path.display(), "the disk is full; this master writes nothing before there is room");
            let since = Instant::now();
            state.full = Some(Full { path, since });
        }
        let open = |state: &mut State| !state.closed;
        let waited = self.0.changed.wait_timeout_while(state, LOOK, open);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    fn found(&self) {
        if let Some(full) = self.lock().full.take() {
            tracing::info!(after = ?full.since.elapsed(), "there is room again");
        }
    }
}

/// Files that wait for room.
pub(crate) struct Patient {
    files: Arc<dyn Files>,
    room: Room,
}

impl Patient {
    pub(crate) fn new(files: Arc<dyn Files>, room: Room) -> Self {
        Self { files, room }
    }

    /// Tries until it fits.
    fn fit(&self, name: &str, deed: impl Fn() -> io::Result<()>) -> io::Result<()> {
        loop {
            match deed() {
                Err(error) if is_full(&error) => {
                    if !self.room.wait(self.files.path(name)) {
                        return Err(error);
                    }
                }
                Ok(()) => {
                    self.room.found();
                    return Ok(());
                }
                other => return other,
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl Files for Patient {
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.files.read(name)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.fit(name, || self.files.append(name, bytes))
    }

    // What did not fit then may be half there: it cannot be tried again.
    fn sync(&self, name: &str) -> io::Result<()> {
        self.files.sync(name)
    }

    fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        self.files.cut(name, length)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.fit(name, || self.files.replace(name, bytes))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
    }
}
