//! A former process, from when another one serves until nothing is open here any more: it tells what is, and follows.
//!
//! When the process that it follows is gone it waits to be found: the next one that is started on the data directory looks for former ones
//! before it says anything of its services, so nothing is stopped that is still used here.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, bail};
use hancock_balancer::Handle;
use hancock_balancer::handover::Found;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::door::{Folder, accept, bind, remove};
use super::former::{self, Former};
use super::manager;
use super::message::{FORMAT, FromFormer, FromNext};
use super::next::Next;
use super::wire::{PATIENCE, Wire};
use crate::boot::DataDir;

/// How the names of sockets begin at which former processes wait, in the data directory. Their ids follow.
const PREFIX: &str = "former-";

/// Where this process waits to be found; gone when dropped.
pub struct Doorstep {
    listener: UnixListener,
    path: PathBuf,
    command: &'static str,
}

/// Why a process that handed over ends early.
pub enum Word {
    /// The daemon is to stop.
    Stop,
    /// The process that took over has died. It is a child of this one, so the service manager hears of it when this one is gone.
    Gone,
}

impl Doorstep {
    /// From now on it can be found. `command` is what it runs as.
    pub fn open(data: &DataDir, command: &'static str) -> io::Result<Self> {
        let name = format!("{PREFIX}{}", std::process::id());
        let path = data.join(&name);
        let listener = bind(&Folder::open(data.path())?, &name)?;
        Ok(Self {
            listener,
            path,
            command,
        })
    }

    /// Waits until another process has found this one.
    async fn found(&self, handle: &Handle, formers: &[Former]) -> Wire {
        loop {
            let mut wire = accept(&self.listener).await;
            match self.answer(&mut wire, handle, formers).await {
                Ok(()) => return wire,
                Err(problem) => tracing::warn!("{problem:#}"),
            }
        }
    }

    async fn answer(
        &self,
        wire: &mut Wire,
        handle: &Handle,
        formers: &[Former],
    ) -> anyhow::Result<()> {
        match timeout(PATIENCE, wire.receive::<FromNext>()).await {
            Ok(Ok(Some((
                FromNext::Hello {
                    format, command, ..
                },
                _,
            )))) if format == FORMAT && command == self.command => {}
            _ => bail!("a process that cannot count what is open here has asked for it"),
        }
        let found = FromFormer::Found {
            pid: std::process::id(),
            found: Box::new(handle.found()),
            before: former::pids(formers),
        };
        let sent = wire.send_in_time(&found).await;
        sent.context("a process asked what is open here and is gone")
    }
}

impl Drop for Doorstep {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a socket nobody listens at any more stays");
        }
    }
}

/// Follows whoever serves, and tells it what is still open here. Returns when there is a reason to end before everything has ended.
pub async fn tell(
    next: &mut Next,
    doorstep: Option<Doorstep>,
    handle: &Handle,
    formers: &[Former],
) -> Word {
    let Err(mut broken) = follow(next.wire(), handle, formers).await else {
        return Word::Stop;
    };
    loop {
        if manager::is_there() {
            tracing::error!(%broken, "the process that took over is gone; what is open here is cut off, so that the service manager notices");
            return Word::Gone;
        }
        tracing::error!(%broken, "the process that took over is gone; what is open here goes on");
        let Some(doorstep) = &doorstep else {
            return std::future::pending().await;
        };
        let mut wire = doorstep.found(handle, formers).await;
        tracing::info!("another process counts what is open here");
        match follow(&mut wire, handle, formers).await {
            Ok(()) => return Word::Stop,
            Err(error) => broken = error,
        }
    }
}

/// Ok: it is to stop.
async fn follow(wire: &mut Wire, handle: &Handle, formers: &[Former]) -> io::Result<()> {
    let mut changed = handle.changed();
    loop {
        let tail = FromFormer::Tail {
            tail: handle.tail(),
            before: former::pids(formers),
        };
        wire.send_in_time(&tail).await?;
        let said = tokio::select! {
            said = wire.receive::<FromNext>() => said?,
            _ = changed.changed() => continue,
        };
        match said {
            Some((FromNext::Changes(changes), _)) => handle.follow(changes),
            Some((FromNext::Stop, _)) => return Ok(()),
            Some(_) => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A former process that was found.
pub struct Orphan {
    pub pid: u32,
    pub wire: Wire,
    pub found: Found,
    /// Processes before it that have not ended.
    pub before: Vec<u32>,
}

/// Former processes of a data directory nobody else serves from, but those that are followed. One that does not answer is told of, and not
/// counted.
pub async fn look(data: &DataDir, command: &str, followed: &[u32]) -> Vec<Orphan> {
    let names = match std::fs::read_dir(data.path()) {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok()),
        Err(error) => {
            tracing::error!(%error, "cannot look for former processes");
            return Vec::new();
        }
    };
    let mut all = Vec::new();
    let free = |name: &String| {
        let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| !followed.contains(&pid))
    };
    for name in names.filter(free) {
        match find(data, &name, command).await {
            Ok(Some(orphan)) => {
                tracing::info!(
                    pid = orphan.pid,
                    "a former process still has something open"
                );
                all.push(orphan);
            }
            Ok(None) => {}
            Err(problem) => tracing::error!(
                name,
                "what is open in a former process is not counted: {problem:#}"
            ),
        }
    }
    all
}

/// None: there is none any more.
async fn find(data: &DataDir, name: &str, command: &str) -> anyhow::Result<Option<Orphan>> {
    let folder = Folder::open(data.path())?;
    let mut wire = match UnixStream::connect(folder.join(name)).await {
        Ok(stream) => Wire::new(stream),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            remove(&data.join(name))?;
            return Ok(None);
        }
        Err(error) => return Err(error).context("cannot reach it"),
    };
    wire.send_in_time(&FromNext::hello(command)).await?;
    match timeout(PATIENCE, wire.receive()).await {
        Ok(Ok(Some((FromFormer::Found { pid, found, before }, _)))) => Ok(Some(Orphan {
            pid,
            wire,
            found: *found,
            before,
        })),
        Ok(Ok(None)) => bail!("it is of another version"),
        Ok(Ok(Some(_))) => bail!("it says what is not expected"),
        Ok(Err(error)) => Err(error).context("it cannot be understood"),
        Err(_) => bail!("it does not answer"),
    }
}
