//! A job's process: a group of its own, with the descriptors that came with its order.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal};
use rustix::process::Pid;

use crate::wire::Order;

/// Why there is no process.
pub(crate) struct Refused {
    program: String,
    why: Errno,
}

impl Refused {
    /// Tells it as shells do: on standard error and by the exit code, which is returned.
    pub(crate) fn tell(&self, stderr: OwnedFd) -> i32 {
        let Self { program, why } = self;
        let line = match program.as_str() {
            "" => "the app has no command of its own, and the job brought none\n".to_owned(),
            program => format!("program {program:?} cannot be started: {}\n", why.desc()),
        };
        // Nobody reads it: its code still tells.
        let _ = std::fs::File::from(stderr).write_all(line.as_bytes());
        match why {
            Errno::ENOENT => 127,
            _ => 126,
        }
    }
}

/// Starts it.
pub(crate) fn spawn(order: &Order, own: &[CString]) -> Result<Pid, Refused> {
    let command = match order.command.is_empty() {
        true => own,
        false => &order.command,
    };
    let refused = |why| Refused {
        program: command.first().map_or_else(String::new, |program| {
            program.to_string_lossy().into_owned()
        }),
        why,
    };
    let program = command.first().ok_or_else(|| refused(Errno::ENOENT))?;
    let spawned = attributes().and_then(|attributes| {
        let files = files(order)?;
        posix_spawnp(program, &files, &attributes, command, &environment())
    });
    let pid = spawned.map_err(refused)?;
    Pid::from_raw(pid.as_raw()).ok_or_else(|| refused(Errno::ESRCH))
}

/// Signals as a program expects them: this one blocks some and ignores SIGPIPE.
fn attributes() -> nix::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    attributes.set_sigmask(&SigSet::empty())?;
    Ok(attributes)
}

fn files(order: &Order) -> nix::Result<PosixSpawnFileActions> {
    let mut files = PosixSpawnFileActions::init()?;
    for (number, file) in [(0, &order.stdin), (1, &order.stdout), (2, &order.stderr)] {
        files.add_dup2(file.as_raw_fd(), number)?;
    }
    Ok(files)
}

fn environment() -> Vec<CString> {
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| {
        let pair = [name.into_vec(), value.into_vec()].join(&b'=');
        CString::new(pair).ok()
    })
    .collect()
}
