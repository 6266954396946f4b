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
    places: OnceLock<Box<[Mutex<Vec<Idle>>]>>,
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
    fn place(&self, thread: usize) -> MutexGuard<'_, Vec<Idle>> {
        let places = self.places.get_or_init(|| {
            std::iter::repeat_with(Mutex::default)
                .take(PLACES)
                .collect()
        });
        let place = places[thread % PLACES].lock();
        place.unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection for at most `time`. Answers whether it is the only one of its thread.
    pub(super) fn put(&self, thread: usize, stream: TcpStream, time: Duration) -> bool {
        let mut place = self.place(thread);
        if place.len() >= KEPT {
            return false;
        }
        place.push(Idle {
            stream,
            until: Instant::now() + time,
        });
        place.len() == 1
    }

    /// The freshest connection that is still good, and on how many others the origin spoke unasked.
    pub(super) fn take(&self, thread: usize) -> (Option<TcpStream>, u64) {
        let mut unasked = 0;
        if self.places.get().is_none() {
            return (None, unasked);
        }
        let mut place = self.place(thread);
        while let Some(idle) = place.pop() {
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
        place.retain(|idle| {
            let state = idle.state();
            looked.unasked += u64::from(state == State::Unasked);
            state == State::Good && idle.until > now
        });
        if place.is_empty() {
            place.shrink_to_fit();
        }
        looked.left = place.len();
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
