//! Waits for the app and ends what it leaves behind.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use hancock_agent_core::observed::Ending;

use crate::runtime::process::proc::Stat;

/// Time what is left has to be gone after SIGKILL.
const REST_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits for the app; collects orphans meanwhile.
pub(super) fn wait(app: i32) -> io::Result<Ending> {
    let app = Pid::from_raw(app);
    loop {
        // Looked at before it is collected: as long as it is not, nobody else can get its pid, and so its group's number.
        let ended = match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(Errno::EINTR) => continue,
            ended => ended?,
        };
        if ended.pid() == Some(app) {
            // The rest of its group, like a container whose first process ended. None left is fine.
            let _ = killpg(app, Signal::SIGKILL);
        }
        let Some(pid) = ended.pid() else {
            continue;
        };
        match (pid == app, waitpid(pid, None)?) {
            (true, WaitStatus::Exited(_, code)) => return Ok(Ending::Code(code)),
            (true, WaitStatus::Signaled(_, signal, _)) => return Ok(Ending::Signal(signal as i32)),
            _ => {}
        }
    }
}

/// Ends every process that came down to us, until none is left.
pub(super) fn end_the_rest() {
    let deadline = Instant::now() + REST_TIMEOUT;
    while Instant::now() < deadline {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => {
                for pid in children() {
                    // Gone meanwhile is fine.
                    let _ = kill(pid, Signal::SIGKILL);
                }
                thread::sleep(Duration::from_millis(5));
            }
            _ => {}
        }
    }
}

/// Processes whose parent we are, by birth or because theirs has ended.
pub(super) fn children() -> impl Iterator<Item = Pid> {
    let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(move |pid| Stat::of(*pid).is_some_and(|stat| stat.parent == own))
        .map(Pid::from_raw)
}
