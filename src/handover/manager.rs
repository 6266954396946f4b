//! The service manager, where there is one: it hears which process is the daemon and when it serves, and keeps the listening sockets, so
//! that a daemon that crashed or is restarted finds them again, with the connections that wait in them.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;

use anyhow::Context;
use hancock_balancer::handover::{Adopted, Listening, SocketName};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use sd_notify::NotifyState;

/// Whether there is one that listens.
pub fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Sockets it kept, or opened for this process.
pub fn kept() -> Adopted {
    let mut adopted = Adopted::default();
    let named = match sd_notify::listen_fds_with_names() {
        Ok(named) => named,
        Err(error) => {
            tracing::warn!(%error, "cannot use the sockets of the service manager");
            return adopted;
        }
    };
    for (number, name) in named {
        let taken = name
            .parse::<SocketName>()
            .and_then(|name| Ok((name, own(number).map_err(|e| e.to_string())?)));
        match taken {
            Ok((name, socket)) => adopted.add(name, socket),
            Err(problem) => {
                tracing::warn!(problem, name, "left out a socket of the service manager")
            }
        }
    }
    if !adopted.is_empty() {
        tracing::info!(sockets = adopted.len(), "the service manager kept sockets");
    }
    adopted
}

/// A descriptor this process was started with, as one it owns.
fn own(number: RawFd) -> io::Result<OwnedFd> {
    let me = pidfd_open(getpid(), PidfdFlags::empty())?;
    let owned = pidfd_getfd(me, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(owned)
}

/// This process serves.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// This process ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process is the daemon from now on.
pub fn main_process(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

/// What is kept there, as far as this process knows.
#[derive(Default)]
pub struct Keeping(BTreeSet<SocketName>);

impl Keeping {
    /// Has the manager keep these sockets and no others. One that is kept already is kept once.
    pub fn keep(&mut self, sockets: &[Listening]) {
        if !is_there() {
            return;
        }
        let names: BTreeSet<SocketName> = sockets.iter().map(|s| s.name).collect();
        for gone in self.0.difference(&names) {
            let name = gone.to_string();
            tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]);
        }
        for socket in sockets.iter().filter(|s| !self.0.contains(&s.name)) {
            let name = socket.name.to_string();
            let state = [NotifyState::FdStore, NotifyState::FdName(&name)];
            if let Err(error) = sd_notify::notify_with_fds(&state, &[socket.as_fd()]) {
                tracing::warn!(%error, name, "the service manager does not keep a socket");
            }
        }
        self.0 = names;
    }
}

/// The file this process was started from; whatever lies there later is taken at an upgrade.
pub fn own_binary() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find the file this process was started from")
}
