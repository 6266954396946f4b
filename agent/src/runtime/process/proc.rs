//! Processes by pid *and* start time, so that a pid given to somebody else is never taken for ours.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One process, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Its pid.
    pub pid: i32,
    /// When it started, in the kernel's ticks since boot.
    pub started: u64,
    /// The boot it started in: ticks begin anew with each, and so do pids.
    #[serde(default)]
    pub boot: u64,
}

impl Process {
    /// The process that has `pid` now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        Some(Self {
            pid,
            started: stat.started,
            boot: boot(),
        })
    }

    /// Whether it still runs. One that ended and waits to be collected does not.
    pub(super) fn is_alive(self) -> bool {
        let same = |s: Stat| s.started == self.started && !matches!(s.state, 'Z' | 'X' | 'x');
        self.boot == boot() && Stat::of(self.pid).is_some_and(same)
    }

    /// A handle that tells its end. None: it has ended.
    pub(super) fn handle(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // Looked at after the handle exists: now the pid cannot change hands unnoticed.
            Ok(handle) => Ok(self.is_alive().then_some(handle)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns when it has ended.
    pub(super) async fn ended(self) -> io::Result<()> {
        let Some(handle) = self.handle()? else {
            return Ok(());
        };
        readiness(handle)?.readable().await.map(drop)
    }
}

/// The constructor is deprecated because a type may answer with a descriptor it does not own; `OwnedFd` always answers with its own.
/// The one in its place would need `unsafe`.
#[allow(deprecated)]
fn readiness(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}

/// Waits for its end. False: it did not end in time.
pub(super) async fn wait(process: Process, time: Duration) -> io::Result<bool> {
    match tokio::time::timeout(time, process.ended()).await {
        Ok(ended) => ended.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Signals the process group that `leader` began. None of it left is fine.
pub(super) fn signal_group(leader: Process, signal: Signal) -> io::Result<()> {
    if !leader.is_alive() {
        return Ok(());
    }
    match killpg(Pid::from_raw(leader.pid), signal) {
        Err(Errno::ESRCH) => Ok(()),
        sent => sent.map_err(io::Error::from),
    }
}

/// What the kernel says of a process.
pub(super) struct Stat {
    state: char,
    /// Its parent.
    pub parent: i32,
    started: u64,
}

impl Stat {
    /// None: there is no such process.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in brackets may hold spaces and brackets; what follows the last bracket is regular.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            started: fields.nth(17)?.parse().ok()?,
        })
    }
}

/// A number for this boot of the machine; 0 where the kernel has none.
fn boot() -> u64 {
    fs::read("/proc/sys/kernel/random/boot_id").map_or(0, |id| u64::from(crc32fast::hash(&id)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_with_brackets_do_not_confuse() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        let parsed = Stat::parse(stat).unwrap();
        assert_eq!(
            (parsed.parent, parsed.started, parsed.state),
            (1, 4242, 'S')
        );
    }

    #[test]
    fn another_start_time_or_boot_is_another_process() {
        let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_alive());
        let started = own.started + 1;
        assert!(!Process { started, ..own }.is_alive());
        let boot = own.boot ^ 1;
        assert!(!Process { boot, ..own }.is_alive());
    }
}
