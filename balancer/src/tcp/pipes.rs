//! Kernel pipes for long flows: bytes go from socket to socket without passing through this process. Kept per thread, limited in total.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

/// Pipes there may be, each of two files.
const MOST: usize = 256;
/// Pipes a thread keeps.
const KEPT: usize = 32;
/// Wanted sizes, the best first; less than the last is not worth it.
const SIZES: [i32; 3] = [1 << 20, 256 << 10, 64 << 10];

static PIPES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static KEEP: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

/// The two ends, and how much fits between.
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    size: usize,
}

impl Drop for Ends {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A pipe in use; goes back empty when dropped, or not at all.
pub(super) struct Pipe {
    ends: Option<Ends>,
    held: usize,
}

impl Pipe {
    /// A pipe; None: there are enough already, or the system gives none that is worth it.
    pub(super) fn take() -> Option<Self> {
        let kept = KEEP.with_borrow_mut(Vec::pop);
        let ends = kept.or_else(open)?;
        Some(Self {
            ends: Some(ends),
            held: 0,
        })
    }

    /// Bytes in it.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes in what `socket` has. Zero: it has ended. Only for an empty pipe, where "would block" speaks of the socket.
    pub(super) fn fill(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = splice(socket, None, &ends.write, None, ends.size, flags())?;
        self.held += moved;
        Ok(moved)
    }

    /// Gives what it holds to `socket`, as far as it takes it.
    pub(super) fn empty(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = splice(&ends.read, None, socket, None, self.held, flags())?;
        self.held -= moved;
        Ok(moved)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take().filter(|_| self.held == 0) else {
            return;
        };
        // The thread may be ending; then the pipe goes with it.
        let _ = KEEP.try_with(|keep| {
            if let Ok(mut keep) = keep.try_borrow_mut()
                && keep.len() < KEPT
            {
                keep.push(ends);
            }
        });
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE
}

fn open() -> Option<Ends> {
    if PIPES.fetch_add(1, Ordering::Relaxed) >= MOST {
        PIPES.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let Ok((read, write)) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC) else {
        PIPES.fetch_sub(1, Ordering::Relaxed);
        return None;
    };
    let ends = Ends {
        size: sized(&write),
        read,
        write,
    };
    (ends.size > 0).then_some(ends)
}

/// Zero: not worth it, because this user has too much in pipes already.
fn sized(pipe: &OwnedFd) -> usize {
    let set = |size: &i32| fcntl(pipe, FcntlArg::F_SETPIPE_SZ(*size)).ok();
    let got = SIZES.iter().find_map(set);
    got.and_then(|size| usize::try_from(size).ok()).unwrap_or(0)
}
