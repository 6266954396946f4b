//! Idle connections to one peer, kept with the peer's dial: they go when it goes, and can never serve anybody else.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

/// Data-plane threads with a place of their own; beyond that, threads share.
const PLACES: usize = 16;
/// Most connections kept per place.
const KEPT: usize = 1024;

/// See the module. A thread takes the connection it put last.
#[derive(Debug, Default)]
pub(in crate::http) struct Pool {
    /// Not there before the first one.
    places: OnceLock<Box<[Mutex<Place>]>>,
}

/// One thread's.
#[derive(Debug, Default)]
struct Place {
    idle: Vec<Idle>,
    /// Somebody sweeps it, also while it is empty for a moment.
    swept: bool,
}

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    until: Instant,
}

/// What came of looking at idle connections.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked {
    /// Connections left.
    pub(super) left: usize,
    /// Connections on which the origin spoke without being asked.
    pub(super) unasked: u64,
}

impl Pool {
    fn place(&self, thread: usize) -> MutexGuard<'_, Place> {
        let places = self.places.get_or_init(|| {
            std::iter::repeat_with(Mutex::default)
                .take(PLACES)
                .collect()
        });
        let place = places[thread % PLACES].lock();
        place.unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection for at most `time`. Answers whether the thread's are to be swept from now on, until nothing is left.
    pub(super) fn put(&self, thread: usize, stream: TcpStream, time: Duration) -> bool {
        let mut place = self.place(thread);
        if place.idle.len() >= KEPT {
            return false;
        }
        place.idle.push(Idle {
            stream,
            until: Instant::now() + time,
        });
        !std::mem::replace(&mut place.swept, true)
    }

    /// The freshest connection that is still good, and on how many others the origin spoke unasked.
    pub(super) fn take(&self, thread: usize) -> (Option<TcpStream>, u64) {
        let mut unasked = 0;
        if self.places.get().is_none() {
            return (None, unasked);
        }
        let mut place = self.place(thread);
        while let Some(idle) = place.idle.pop() {
            match idle.state() {
                State::Good if idle.until > Instant::now() => return (Some(idle.stream), unasked),
                State::Good | State::Over => {}
                State::Unasked => unasked += 1,
            }
        }
        (None, unasked)
    }

    /// Closes what is too old or no longer good.
    pub(super) fn sweep(&self, thread: usize, now: Instant) -> Looked {
        let mut looked = Looked::default();
        let mut place = self.place(thread);
        place.idle.retain(|idle| {
            let state = idle.state();
            looked.unasked += u64::from(state == State::Unasked);
            state == State::Good && idle.until > now
        });
        looked.left = place.idle.len();
        if looked.left == 0 {
            *place = Place::default();
        }
        looked
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Good,
    /// The origin closed it.
    Over,
    Unasked,
}

impl Idle {
    /// Costs no system call while nothing came.
    fn state(&self) -> State {
        let mut context = Context::from_waker(Waker::noop());
        if self.stream.poll_read_ready(&mut context).is_pending() {
            return State::Good;
        }
        match self.stream.try_read(&mut [0]) {
            Ok(0) => State::Over,
            Ok(_) => State::Unasked,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => State::Good,
            Err(_) => State::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_place_is_swept_once_however_often_it_is_empty() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pool = Pool::default();
        let minute = Duration::from_secs(60);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _origin = listener.accept().await.unwrap();
        for round in 0..3 {
            assert_eq!(pool.put(0, stream, minute), round == 0);
            stream = pool.take(0).0.unwrap();
        }
        assert_eq!(pool.sweep(0, Instant::now()), Looked::default());
        assert!(pool.put(0, stream, minute), "it was given up while empty");
        assert_eq!(pool.sweep(0, Instant::now()).left, 1);
        let late = Instant::now() + minute;
        assert_eq!(pool.sweep(0, late).left, 0);
    }
}
