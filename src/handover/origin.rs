//! Where a daemon that starts gets its sockets and its data directory from: from the process it takes over from, from the service manager
//! that kept the sockets, or from nobody.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hancock_balancer::handover::{Adopted, Inherited, Known, Tail};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::former::Former;
use super::message::{FORMAT, FromFormer, FromNext};
use super::wire::Wire;
use super::{Daemon, manager};
use crate::boot::DataDir;

/// Variable that holds the id of the process to take over from. It counts for that one's own child only.
pub const TAKES_OVER: &str = "HANCOCK_TAKES_OVER";
/// Time the former process has for each of its messages. It holds while it hands over, which may wait for the disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct Origin {
    pub sockets: Adopted,
    before: Option<Before>,
    /// Signals that wish for an upgrade; heard from the start, because one that nobody hears ends the process.
    wishes: Signal,
}

struct Before {
    wire: Wire,
    pid: u32,
    known: Known,
    tail: Tail,
    others: Vec<u32>,
    lock: Option<OwnedFd>,
}

impl Origin {
    /// Takes over, when this process was started for that; everything that may be wrong without it should have been looked at before.
    ///
    /// # Errors
    /// The process before this one does not hand over.
    pub async fn find(command: &str) -> anyhow::Result<Self> {
        let wishes = signal(SignalKind::user_defined2()).context("cannot listen for SIGUSR2")?;
        match former() {
            Some(pid) => Self::take_over(pid, command, wishes)
                .await
                .with_context(|| format!("cannot take over from process {pid}")),
            None => Ok(Self {
                sockets: manager::kept(),
                before: None,
                wishes,
            }),
        }
    }

    async fn take_over(pid: u32, command: &str, wishes: Signal) -> anyhow::Result<Self> {
        let mut wire = Wire::new(standard_input()?);
        let hello = FromNext::Hello {
            format: FORMAT,
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        wire.send(&hello, &[]).await?;
        let mut sockets = Adopted::default();
        let (known, tail, others, lock) = loop {
            let (message, mut descriptors) = said(&mut wire).await?;
            match message {
                FromFormer::Sockets(names) => {
                    for (name, socket) in names.into_iter().zip(descriptors) {
                        sockets.add(name.parse().map_err(|e: String| anyhow!(e))?, socket);
                    }
                }
                FromFormer::State {
                    known,
                    tail,
                    before,
                } => break (*known, tail, before, descriptors.pop()),
                _ => bail!("it says what is not expected"),
            }
        };
        Ok(Self {
            sockets,
            before: Some(Before {
                wire,
                pid,
                known,
                tail,
                others,
                lock,
            }),
            wishes,
        })
    }

    /// The data directory at `path`, locked all the time.
    ///
    /// # Errors
    /// As those of [`DataDir::open`]; or it is not the one of the process before this one.
    pub fn data(&mut self, path: &Path) -> anyhow::Result<DataDir> {
        match &mut self.before {
            Some(before) => {
                let lock = before.lock.take().context("the lock was not handed over")?;
                DataDir::taken_over(path, lock)
            }
            None => DataDir::open(path),
        }
    }

    /// What the balancer takes over.
    pub fn inherited(&mut self) -> Inherited {
        let sockets = std::mem::take(&mut self.sockets);
        match &mut self.before {
            Some(before) => Inherited {
                sockets,
                known: std::mem::take(&mut before.known),
                former: Some(std::mem::take(&mut before.tail)),
            },
            None => Inherited {
                sockets,
                ..Inherited::default()
            },
        }
    }

    /// Says that this process can serve, and accepts when it is told to. Answers the former one, as long as it lasts, and the signals
    /// that wish for an upgrade.
    pub(super) async fn serving(
        self,
        daemon: &mut Daemon,
    ) -> anyhow::Result<(Option<Former>, Signal)> {
        let (Some(mut before), Some(link)) = (self.before, daemon.balancer.former()) else {
            return Ok((None, self.wishes));
        };
        before.wire.send(&FromNext::Serving, &[]).await?;
        match said(&mut before.wire).await {
            Ok((FromFormer::Yours, _)) => {}
            Ok(_) => bail!("the former process says what is not expected"),
            // It is gone, and so nobody else serves.
            Err(error) => tracing::warn!(%error, "the former process is gone"),
        }
        // Said before it is done: a connection that was accepted is not lost with a process that is given up.
        if let Err(error) = before.wire.send(&FromNext::Accepting, &[]).await {
            tracing::warn!(%error, "the former process is gone");
        }
        daemon.balancer.accept();
        let Before {
            pid, others, wire, ..
        } = before;
        let former = Former::follow(pid, others, wire, link);
        Ok((Some(former), self.wishes))
    }
}

async fn said(wire: &mut Wire) -> anyhow::Result<(FromFormer, Vec<OwnedFd>)> {
    let said = timeout(PATIENCE, wire.receive()).await;
    let said = said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    said.context("it is gone, or goes on by itself")
}

/// The process that started this one to be taken over from.
fn former() -> Option<u32> {
    let named = std::env::var(TAKES_OVER).ok()?.parse().ok()?;
    (std::os::unix::process::parent_id() == named).then_some(named)
}

/// The socket that is this process's standard input; nothing is read from there afterwards.
fn standard_input() -> anyhow::Result<UnixStream> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let nothing = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    let stream = StdStream::from(input);
    stream.set_nonblocking(true)?;
    Ok(UnixStream::from_std(stream)?)
}
