//! The end of processes: reaped as they come, and brought about where a job left some.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait,
};

use crate::signals::Signals;

/// Time in which children are ended one by one; what lasts longer breeds faster than it is found.
const ONE_BY_ONE: Duration = Duration::from_secs(1);
/// Time in which nothing of a job may be left.
const ALL: Duration = Duration::from_secs(5);
/// Longest pause between two looks: the end of a child breaks it off.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What was seen when all ended children had been reaped.
pub(crate) struct Seen {
    /// The exit code of the one that was asked for, when it was among them; 128 and the signal's number when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Some are left.
    left: bool,
}

/// Reaps every child that has ended, as a first process must.
pub(crate) fn reap(asked: Option<Pid>) -> io::Result<Seen> {
    let mut code = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if Some(pid) == asked => code = Some(code_of(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(Seen { code, left: true }),
            Err(Errno::CHILD) => return Ok(Seen { code, left: false }),
            Err(error) => return Err(error.into()),
        }
    }
}

fn code_of(status: WaitStatus) -> i32 {
    let by_signal = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(by_signal).unwrap_or(-1)
}

/// Ends the job's process group and all else that is a child of this process, until there is none. Processes that came into the container
/// from outside have parents outside.
pub(crate) fn end_all(job: Pid, signals: &mut Signals) -> io::Result<()> {
    // Gone is fine.
    let _ = kill_process_group(job, Signal::KILL);
    let begun = Instant::now();
    while reap(None)?.left {
        match begun.elapsed() {
            time if time > ALL => {
                let why = "a job left processes that could not be ended within 5 s";
                return Err(io::Error::other(why));
            }
            time if time > ONE_BY_ONE && getpid() == Pid::INIT => kill_everything(),
            _ => kill_children()?,
        }
        signals.wait(None, Some(LOOK_AGAIN))?;
    }
    Ok(())
}

/// All that a first process can see, in one stroke.
fn kill_everything() {
    // Refused is seen by what is left.
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(-1),
        nix::sys::signal::Signal::SIGKILL,
    );
}

fn kill_children() -> io::Result<()> {
    let own = getpid();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        if parent(pid) == Some(own) {
            // Gone meanwhile is fine.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    Ok(())
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in brackets may hold anything; what follows the last bracket is regular.
    let after = stat.rsplit(|byte| *byte == b')').next()?;
    let after = std::str::from_utf8(after).ok()?;
    Pid::from_raw(after.split_whitespace().nth(1)?.parse().ok()?)
}
