//! Waiting: for signals, and for the connection.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What of a connection is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Look {
    /// That something can be read, be it the end.
    Words,
    /// That the other side has gone.
    End,
}

/// Signals that are read instead of delivered.
pub(crate) struct Signals {
    from: SignalFd,
    /// SIGTERM has come.
    pub(crate) stop: bool,
}

impl Signals {
    /// From now on.
    pub(crate) fn catch() -> io::Result<Self> {
        let mut caught = SigSet::empty();
        caught.add(Signal::SIGCHLD);
        caught.add(Signal::SIGTERM);
        caught.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let from = SignalFd::with_flags(&caught, flags)?;
        Ok(Self { from, stop: false })
    }

    /// Waits for a signal, the connection or the time, whichever comes first. True: it is the connection, maybe with others.
    pub(crate) fn wait(
        &mut self,
        connection: Option<(&UnixStream, Look)>,
        time: Option<Duration>,
    ) -> io::Result<bool> {
        let mut looked = vec![PollFd::new(&self.from, PollFlags::IN)];
        if let Some((connection, look)) = connection {
            let flags = match look {
                Look::Words => PollFlags::IN,
                Look::End => PollFlags::RDHUP,
            };
            looked.push(PollFd::new(connection, flags));
        }
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        match poll(&mut looked, time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let come = looked.get(1).is_some_and(|c| !c.revents().is_empty());
        self.read()?;
        Ok(come)
    }

    fn read(&mut self) -> io::Result<()> {
        while let Some(signal) = self.from.read_signal()? {
            self.stop |= i64::from(signal.ssi_signo) == i64::from(Signal::SIGTERM as i32);
        }
        Ok(())
    }
}
