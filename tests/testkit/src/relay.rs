//! A Unix socket in front of another one, which can go away and come back: an engine that is restarted.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Passes bytes on between `path` and `target` while it is open.
#[derive(Debug)]
pub struct Relay {
    path: PathBuf,
    target: PathBuf,
    open: Option<Open>,
}

/// One time of being open.
#[derive(Debug)]
struct Open {
    closed: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Relay {
    /// Opens the relay.
    ///
    /// # Panics
    /// When `path` cannot be bound.
    pub fn open(path: &Path, target: &Path) -> Self {
        let mut relay = Self {
            path: path.to_owned(),
            target: target.to_owned(),
            open: None,
        };
        relay.restore();
        relay
    }

    /// The socket goes away and every connection breaks.
    pub fn cut(&mut self) {
        let Some(open) = self.open.take() else { return };
        open.closed.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it is closed.
        drop(UnixStream::connect(&self.path));
        let _ = std::fs::remove_file(&self.path);
        for stream in open
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The socket is back.
    ///
    /// # Panics
    /// When it cannot be bound.
    pub fn restore(&mut self) {
        self.cut();
        let listener = UnixListener::bind(&self.path).unwrap();
        let open = Open {
            closed: Arc::default(),
            streams: Arc::default(),
        };
        let (closed, streams, target) = (
            open.closed.clone(),
            open.streams.clone(),
            self.target.clone(),
        );
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if closed.load(Ordering::SeqCst) {
                    break;
                }
                if let (Ok(near), Ok(far)) = (near, UnixStream::connect(&target)) {
                    join(near, far, &streams);
                }
            }
        });
        self.open = Some(open);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
    }
}

fn join(near: UnixStream, far: UnixStream, streams: &Mutex<Vec<UnixStream>>) {
    let copies = [near.try_clone().unwrap(), far.try_clone().unwrap()];
    streams
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
    let [near_again, far_again] = copies;
    std::thread::spawn(move || copy(near, far_again));
    std::thread::spawn(move || copy(far, near_again));
}

/// Until one side ends; then the other is told, half by half, as Docker's attached streams need it.
fn copy(mut from: UnixStream, mut to: UnixStream) {
    let mut block = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut block) {
        if n == 0 || to.write_all(&block[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_away_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (front, back) = (dir.path().join("front"), dir.path().join("back"));
        let echo = UnixListener::bind(&back).unwrap();
        std::thread::spawn(move || {
            for stream in echo.incoming().flatten() {
                std::thread::spawn(move || copy(stream.try_clone().unwrap(), stream));
            }
        });
        let mut relay = Relay::open(&front, &back);
        let mut through = UnixStream::connect(&front).unwrap();
        through.write_all(b"hi").unwrap();
        let mut two = [0; 2];
        through.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"hi");
        relay.cut();
        assert_eq!(through.read(&mut two).unwrap_or(0), 0);
        assert!(UnixStream::connect(&front).is_err());
        relay.restore();
        UnixStream::connect(&front).unwrap();
    }
}
