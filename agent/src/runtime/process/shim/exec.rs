//! The shim of a command run beside an instance: two processes. The one that stays sees to it that the command ends with whatever it belongs
//! to: the agent that waits for it, and the instance. The other one enters the instance's surroundings and becomes the command.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::fchown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use rustix::event::{PollFd, PollFlags, poll};

use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::observed::Ending;

use super::{STACK, app, reap};
use crate::runtime::process::files::{Folder, Order, Running};
use crate::runtime::process::limits;
use crate::runtime::process::proc::Process;

/// First argument of the process that stays.
pub(in crate::runtime::process) const EXEC: &str = "exec";
/// First argument of the process that becomes the command.
const ENTER: &str = "enter";

/// Exit code when not the command failed, but what was to run it.
const OURS: u8 = 125;
/// Exit code of a program that may not be executed.
const NOT_EXECUTABLE: u8 = 126;
/// Exit code of a program that does not exist.
const NOT_FOUND: u8 = 127;

/// Before the name of each variable that the command gets beside the instance's. Arguments are everybody's to read, and under its own name
/// a variable might mean something to the shim, which has the agent's rights.
const VARIABLE: &str = "HANCOCK_EXEC_";

/// A variable of the command, as one of its shim.
pub(in crate::runtime::process) fn variable<V>((name, value): (&String, V)) -> (String, V) {
    (format!("{VARIABLE}{name}"), value)
}

/// The variables that [`variable`] made.
fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.as_bytes().strip_prefix(VARIABLE.as_bytes())?;
        Some((OsStr::from_bytes(name).to_owned(), value))
    })
}

/// Arguments before the command.
const BEFORE: usize = 5;

/// What is to be run, as arguments: the folder of the instance, the agent's pid, the terminal (empty: none), the user and the working
/// directory (empty: the instance's), the command.
struct Task {
    words: Vec<OsString>,
}

/// Runs one of the two, if `args` are for them.
pub(super) fn main(args: &[OsString]) -> Option<ExitCode> {
    let (role, words) = args.split_first()?;
    let words = words.to_vec();
    let ended = match role.to_str()? {
        EXEC if words.len() > BEFORE => Task { words }.stay(),
        ENTER if words.len() > BEFORE => Ok(Task { words }.enter()),
        _ => return None,
    };
    Some(ended.unwrap_or_else(|error| {
        eprintln!("hancock: {error}");
        ExitCode::from(OURS)
    }))
}

impl Task {
    fn folder(&self) -> Folder {
        Folder::new(PathBuf::from(&self.words[0]))
    }

    fn agent(&self) -> Option<Process> {
        self.words[1].to_str()?.parse().ok().and_then(Process::of)
    }

    fn terminal(&self) -> Option<&OsStr> {
        self.word(2)
    }

    fn user(&self) -> Option<&str> {
        self.word(3).and_then(OsStr::to_str)
    }

    fn workdir(&self) -> Option<&OsStr> {
        self.word(4)
    }

    /// None: it is empty.
    fn word(&self, n: usize) -> Option<&OsStr> {
        Some(self.words[n].as_os_str()).filter(|word| !word.is_empty())
    }

    fn command(&self) -> (&OsStr, &[OsString]) {
        (&self.words[BEFORE], &self.words[BEFORE + 1..])
    }

    /// Starts the other process and stays until nothing of the command is left.
    fn stay(&self) -> io::Result<ExitCode> {
        // A session of its own: no terminal and no signal to the daemon's group reaches it. Fails only when it has one already.
        let _ = setsid();
        prctl::set_child_subreaper(true)?;
        let folder = self.folder();
        let gone = || io::Error::other("the instance does not run");
        let (order, running) = (folder.order()?, folder.running().ok_or_else(gone)?);
        let ends = self.ends(&running)?;
        let child = self.begin(&order)?;
        let watch = move || end_at(&ends);
        thread::Builder::new().stack_size(STACK).spawn(watch)?;
        let how = reap::wait(i32::try_from(child).unwrap_or(i32::MAX))?;
        reap::end_the_rest();
        let code = match how {
            Ending::Code(code) => code,
            Ending::Signal(signal) => 128 + signal,
            _ => i32::from(OURS),
        };
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(OURS)))
    }

    /// What each means the end of the command when it becomes readable: a signal to stop, the end of the agent, the end of the instance.
    fn ends(&self, running: &Running) -> io::Result<Vec<OwnedFd>> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        // Inherited by the other process, which takes it back.
        signals.thread_block()?;
        let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
        let gone = || io::Error::other("the instance has ended");
        let instance = running.app.handle()?.ok_or_else(gone)?;
        let agent = self.agent().map(Process::handle).transpose()?.flatten();
        let agent = agent.ok_or_else(|| io::Error::other("the agent has ended"))?;
        Ok(vec![signals.as_fd().try_clone_to_owned()?, agent, instance])
    }

    fn begin(&self, order: &Order) -> io::Result<u32> {
        let mut command = Command::new("/proc/self/exe");
        let words = std::env::args_os().skip(1);
        // Called as whatever the agent calls its shim, up to the role.
        let before = words.take_while(|word| word != EXEC);
        command.args(before).arg(ENTER).args(&self.words);
        app::move_to(&order.cgroups, |group| &group.path);
        let spawned = command.spawn();
        app::move_to(&order.cgroups, |group| &group.home);
        let child = spawned?.id();
        // Ours stay open to the end, and readers wait for theirs.
        self.let_go()?;
        Ok(child)
    }

    /// The command alone holds the pipes to the agent.
    fn let_go(&self) -> io::Result<()> {
        let nowhere = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&nowhere)?;
        dup2_stdout(&nowhere)?;
        Ok(dup2_stderr(&nowhere)?)
    }

    /// Becomes the command; returns only when it cannot.
    fn enter(&self) -> ExitCode {
        let (program, _) = self.command();
        match self.become_it() {
            Ok(error) | Err(error) if error.kind() == io::ErrorKind::NotFound => {
                eprintln!("hancock: program {program:?} does not exist: {error}");
                ExitCode::from(NOT_FOUND)
            }
            Ok(error) => {
                eprintln!("hancock: program {program:?} may not be executed: {error}");
                ExitCode::from(NOT_EXECUTABLE)
            }
            Err(error) => {
                eprintln!("hancock: {error}");
                ExitCode::from(OURS)
            }
        }
    }

    /// Ok: why the program was not executed. Err: what went wrong before.
    fn become_it(&self) -> io::Result<io::Error> {
        SigSet::empty().thread_set_mask()?;
        setsid()?;
        let folder = self.folder();
        let spec = folder.order()?.spec;
        let user = self.user().or(spec.user.as_deref());
        let account = user.map(limits::account).transpose();
        let account = account.map_err(io::Error::other)?;
        if let Some(path) = self.terminal() {
            // The first terminal a session opens is its own.
            let terminal = File::options().read(true).write(true).open(path)?;
            if let Some((uid, gid)) = account {
                fchown(&terminal, Some(uid.as_raw()), Some(gid.as_raw()))?;
            }
            dup2_stdin(&terminal)?;
            dup2_stdout(&terminal)?;
            dup2_stderr(&terminal)?;
        }
        let workdir = self.place(&folder, &spec);
        let mut command = self.surrounded(&workdir, &spec);
        if let Some((uid, gid)) = account {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        let error = command.exec();
        // By now as the command's user, who may see less than the agent.
        match std::env::set_current_dir(&workdir) {
            Ok(()) => Ok(error),
            Err(error) => Err(io::Error::other(format!(
                "working directory {} cannot be entered: {error}; name another one",
                workdir.display()
            ))),
        }
    }

    fn place(&self, folder: &Folder, spec: &StartSpec) -> PathBuf {
        let own = || {
            spec.workdir
                .as_ref()
                .map_or_else(|| folder.work(), PathBuf::from)
        };
        self.workdir().map_or_else(own, PathBuf::from)
    }

    fn surrounded(&self, workdir: &Path, spec: &StartSpec) -> Command {
        let (program, args) = self.command();
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(workdir)
            .env_clear()
            .envs(&spec.environment)
            .stdin(Stdio::inherit());
        if self.terminal().is_some() && !spec.environment.contains_key("TERM") {
            command.env("TERM", "xterm");
        }
        command.envs(variables());
        command
    }
}

/// Waits for the first of `ends`, then ends the command; what it leaves behind is ended where its end is waited for.
fn end_at(ends: &[OwnedFd]) {
    let mut polled: Vec<PollFd<'_>> = ends
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    while let Err(rustix::io::Errno::INTR) = poll(&mut polled, None) {}
    for pid in reap::children() {
        // Gone meanwhile is fine.
        let _ = kill(pid, Signal::SIGKILL);
    }
}
