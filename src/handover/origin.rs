//! Where a daemon that starts gets its sockets and its data directory from: from the process it takes over from, from the service manager
//! that kept the sockets, or from nobody.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hancock_balancer::Balancer;
use hancock_balancer::handover::{Adopted, Inherited, Known, Tail};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::following::{self, Orphan};
use super::former::Former;
use super::message::{FromFormer, FromNext};
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
    /// Former processes whose next one is gone.
    orphans: Vec<Orphan>,
    command: String,
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
                orphans: Vec::new(),
                command: command.to_owned(),
                wishes,
            }),
        }
    }

    async fn take_over(pid: u32, command: &str, wishes: Signal) -> anyhow::Result<Self> {
        let mut wire = Wire::new(standard_input()?);
        wire.send(&FromNext::hello(command), &[]).await?;
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
            orphans: Vec::new(),
            command: command.to_owned(),
            wishes,
        })
    }

    /// The data directory at `path`, locked all the time; and the former processes that wait there for somebody to follow.
    ///
    /// # Errors
    /// As those of [`DataDir::open`]; or it is not the one of the process before this one.
    pub async fn data(&mut self, path: &Path) -> anyhow::Result<DataDir> {
        match &mut self.before {
            Some(before) => {
                let lock = before.lock.take().context("the lock was not handed over")?;
                DataDir::taken_over(path, lock)
            }
            None => {
                let data = DataDir::open(path)?;
                self.orphans = following::look(&data, &self.command, &[]).await;
                Ok(data)
            }
        }
    }

    /// What the balancer takes over.
    pub fn inherited(&mut self) -> Inherited {
        let sockets = std::mem::take(&mut self.sockets);
        let found = self.orphans.iter_mut();
        let found = found.map(|orphan| std::mem::take(&mut orphan.found));
        match &mut self.before {
            Some(before) => Inherited {
                sockets,
                known: std::mem::take(&mut before.known),
                former: Some(std::mem::take(&mut before.tail)),
                found: Vec::new(),
            },
            None => Inherited {
                sockets,
                found: found.collect(),
                ..Inherited::default()
            },
        }
    }

    /// Says that this process can serve, and accepts when it is told to. Answers the former ones, as long as they last, and the signals
    /// that wish for an upgrade.
    pub(super) async fn serving(
        self,
        daemon: &mut Daemon,
    ) -> anyhow::Result<(Vec<Former>, Signal)> {
        let orphans = self.orphans.into_iter();
        let mut formers: Vec<_> = orphans.map(|o| (o.pid, o.before, o.wire)).collect();
        if let Some(before) = self.before {
            formers.push(before.relieve(&mut daemon.balancer).await?);
        }
        let links = daemon.balancer.formers().into_iter();
        let formers = formers.into_iter().zip(links);
        let follow = |((pid, before, wire), link)| Former::follow(pid, before, wire, link);
        Ok((formers.map(follow).collect(), self.wishes))
    }
}

impl Before {
    /// From here on this process accepts. Who the former one is, and those before it.
    async fn relieve(mut self, balancer: &mut Balancer) -> anyhow::Result<(u32, Vec<u32>, Wire)> {
        self.wire.send(&FromNext::Serving, &[]).await?;
        match said(&mut self.wire).await {
            Ok((FromFormer::Yours, _)) => {}
            Ok(_) => bail!("the former process says what is not expected"),
            // It is gone, and so nobody else serves.
            Err(error) => tracing::warn!(%error, "the former process is gone"),
        }
        // Said before it is done: a connection that was accepted is not lost with a process that is given up.
        if let Err(error) = self.wire.send(&FromNext::Accepting, &[]).await {
            tracing::warn!(%error, "the former process is gone");
        }
        balancer.accept();
        Ok((self.pid, self.others, self.wire))
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
