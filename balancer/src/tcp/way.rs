//! One direction of a session. Small buffers first, larger ones for bulk, the kernel's pipes for long flows; back again when it turns chatty.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::buffers::{Buffer, LARGE, MIDDLE, SMALL};
use super::pipes::Pipe;

/// Flows are long after this much.
const LONG: u64 = 256 << 10;
/// Reads in a row that tell a flow's nature.
const TELLING: u32 = 2;
const CHATTY: u32 = 16;
/// Spliced pieces below this are cheaper to copy.
const WORTH_SPLICING: usize = 4 << 10;
/// Pieces moved in a row before others of the thread get their turn.
const IN_A_ROW: u32 = 16;

/// How a direction broke.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Its source did not end well.
    #[error("reading: {0}")]
    Reading(io::Error),
    /// Its destination takes nothing more.
    #[error("writing: {0}")]
    Writing(io::Error),
}

/// See the module.
pub(super) struct Way<'a> {
    pub(super) from: ReadHalf<'a>,
    pub(super) to: WriteHalf<'a>,
    /// What moved in either direction of the session.
    pub(super) moved: &'a AtomicU64,
    /// What moved in this direction of the service.
    pub(super) total: &'a AtomicU64,
    /// What moved through pipes, of the service.
    pub(super) spliced: &'a AtomicU64,
    pub(super) pace: Pace,
}

enum Piece {
    Some,
    /// Nothing there at the moment.
    Dry,
    End,
}

impl Way<'_> {
    /// Moves everything, then tells the destination that this was all.
    pub(super) async fn run(&mut self) -> Result<(), Broken> {
        loop {
            let pipe = if self.pace.splices() {
                Pipe::take()
            } else {
                None
            };
            let more = match pipe {
                Some(pipe) => self.splice(pipe).await?,
                None => self.copy().await?,
            };
            if !more {
                break;
            }
        }
        // The other side may be gone already; that direction tells.
        let _ = self.to.shutdown().await;
        Ok(())
    }

    fn count(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One piece through memory. False: the source has ended.
    async fn copy(&mut self) -> Result<bool, Broken> {
        let size = self.pace.size;
        let (mut buffer, read) = self.read(size).await.map_err(Broken::Reading)?;
        if read == 0 {
            return Ok(false);
        }
        let piece = &buffer.bytes()[..read];
        self.to.write_all(piece).await.map_err(Broken::Writing)?;
        self.count(read);
        self.pace.copied(read);
        Ok(true)
    }

    /// Waits without a buffer: one is taken when there is something to read.
    async fn read(&mut self, size: usize) -> io::Result<(Buffer, usize)> {
        let from = &mut self.from;
        poll_fn(|cx| {
            let mut buffer = Buffer::take(size);
            let mut read = ReadBuf::new(buffer.bytes());
            match Pin::new(&mut *from).poll_read(cx, &mut read) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {
                    let filled = read.filled().len();
                    Poll::Ready(Ok((buffer, filled)))
                }
            }
        })
        .await
    }

    /// Pieces through a pipe until the source is dry; then the pipe is given back. False: the source has ended.
    async fn splice(&mut self, mut pipe: Pipe) -> Result<bool, Broken> {
        for _ in 0..IN_A_ROW {
            match self.splice_piece(&mut pipe).await? {
                Piece::Some => {}
                Piece::End => return Ok(false),
                Piece::Dry => {
                    drop(pipe);
                    self.from.readable().await.map_err(Broken::Reading)?;
                    return Ok(true);
                }
            }
            if !self.pace.splices() {
                return Ok(true);
            }
        }
        tokio::task::yield_now().await;
        Ok(true)
    }

    async fn splice_piece(&mut self, pipe: &mut Pipe) -> Result<Piece, Broken> {
        let from = self.from.as_ref();
        let moved = match from.try_io(Interest::READABLE, || pipe.fill(from)) {
            Ok(0) => return Ok(Piece::End),
            Ok(moved) => moved,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Piece::Dry),
            Err(error) if cannot(&error) => {
                self.pace.never_splice();
                return Ok(Piece::Some);
            }
            Err(error) => return Err(Broken::Reading(error)),
        };
        while pipe.held() > 0 {
            let to = self.to.as_ref();
            match to.try_io(Interest::WRITABLE, || pipe.empty(to)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.to.writable().await.map_err(Broken::Writing)?;
                }
                Err(error) => return Err(Broken::Writing(error)),
            }
        }
        self.count(moved);
        self.spliced.fetch_add(moved as u64, Ordering::Relaxed);
        self.pace.spliced(moved);
        Ok(Piece::Some)
    }
}

/// The system does not splice from such a socket; nothing was taken yet.
fn cannot(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)
    )
}

/// How a direction is moved, learnt from what came.
#[derive(Debug)]
pub(super) struct Pace {
    may_splice: bool,
    size: usize,
    moved: u64,
    full: u32,
    small: u32,
}

impl Pace {
    pub(super) fn new(may_splice: bool) -> Self {
        Self {
            may_splice,
            size: SMALL,
            moved: 0,
            full: 0,
            small: 0,
        }
    }

    fn splices(&self) -> bool {
        self.may_splice && self.size > SMALL && self.moved > LONG
    }

    fn never_splice(&mut self) {
        self.may_splice = false;
    }

    fn copied(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        self.full = if bytes == self.size { self.full + 1 } else { 0 };
        if self.full >= TELLING {
            self.full = 0;
            self.size = if self.size == SMALL { MIDDLE } else { LARGE };
        }
        self.judge(bytes < SMALL / 4);
    }

    fn spliced(&mut self, bytes: usize) {
        self.judge(bytes < WORTH_SPLICING);
    }

    fn judge(&mut self, small: bool) {
        self.small = if small { self.small + 1 } else { 0 };
        if self.small >= CHATTY {
            *self = Self::new(self.may_splice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_grows_and_chat_shrinks() {
        let mut pace = Pace::new(true);
        for _ in 0..1000 {
            pace.copied(100);
        }
        assert!(pace.size == SMALL && !pace.splices());
        for size in [SMALL, SMALL, MIDDLE, MIDDLE, LARGE] {
            assert_eq!(pace.size, size);
            pace.copied(size);
        }
        assert!(pace.splices());
        for _ in 0..CHATTY {
            assert!(pace.splices());
            pace.spliced(100);
        }
        assert!(pace.size == SMALL && !pace.splices());
    }

    #[test]
    fn without_splice_bulk_is_copied() {
        let mut pace = Pace::new(false);
        for _ in 0..10 {
            pace.copied(pace.size);
        }
        assert!(pace.size == LARGE && !pace.splices());
    }
}
