//! Runs a command in the surroundings of an instance, under a shim of its own that ends it when nobody waits for it any more.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::select;
use hancock_proto::exec::{MAX_PIECE, Order, Window};
use hancock_proto::hub::Stream;
use hancock_proto::ids::InstanceId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

use super::RuntimeError;
use super::files::Folder;
use super::limits;
use super::shim::{EXEC, variable};
use crate::runtime::exec::{self, Control, End, Exec, Pieces, TAKES_NO_JOBS, pieces};

/// What was tried, in errors.
const DEED: &str = "run a command in";

/// Begins it.
pub(super) fn exec(
    folder: &Folder,
    instance: &InstanceId,
    order: &Order,
    shim: &[OsString],
) -> Result<Exec, RuntimeError> {
    let failed = |e: io::Error| RuntimeError::failed(DEED, instance, e);
    if order.job {
        return Err(RuntimeError::failed(DEED, instance, TAKES_NO_JOBS));
    }
    if !folder
        .running()
        .is_some_and(|running| running.app.is_alive())
    {
        return Err(RuntimeError::failed(DEED, instance, "it does not run"));
    }
    surroundings(order).map_err(|why| RuntimeError::failed(DEED, instance, why))?;
    let terminal = order.tty.map(Terminal::open).transpose().map_err(failed)?;
    let mut child = spawn(folder, order, terminal.as_ref(), shim).map_err(failed)?;
    let input: std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>> =
        match (&terminal, order.stdin, child.stdin.take()) {
            (Some(terminal), true, _) => Box::pin(terminal.file().map_err(failed)?),
            (None, true, Some(pipe)) => Box::pin(pipe),
            _ => Box::pin(tokio::io::sink()),
        };
    let output = match &terminal {
        Some(terminal) => pieces(terminal.file().map_err(failed)?, Stream::Stdout),
        None => outputs(&mut child),
    };
    Ok(Exec {
        input,
        output,
        control: Box::new(Attached::new(child, terminal)),
    })
}

/// What cannot be had of them is told before anything runs.
fn surroundings(order: &Order) -> Result<(), String> {
    order.user.as_deref().map(limits::account).transpose()?;
    match order
        .workdir
        .as_deref()
        .filter(|path| !Path::new(path).is_dir())
    {
        Some(path) => Err(format!("working directory {path} does not exist")),
        None => Ok(()),
    }
}

fn spawn(
    folder: &Folder,
    order: &Order,
    terminal: Option<&Terminal>,
    shim: &[OsString],
) -> io::Result<Child> {
    let none = || io::Error::other("no shim command is configured");
    let (program, args) = shim.split_first().ok_or_else(none)?;
    let piped = |wanted: bool| match wanted {
        true => Stdio::piped(),
        false => Stdio::null(),
    };
    Command::new(program)
        .args(args)
        .arg(EXEC)
        .arg(folder.path())
        .arg(std::process::id().to_string())
        .arg(terminal.map_or_else(PathBuf::new, |terminal| terminal.path.clone()))
        .arg(order.user.as_deref().unwrap_or_default())
        .arg(order.workdir.as_deref().unwrap_or_default())
        .args(&order.command)
        .env_clear()
        .envs(order.environment.iter().map(variable))
        .stdin(piped(terminal.is_none() && order.stdin))
        .stdout(piped(terminal.is_none()))
        .stderr(piped(terminal.is_none()))
        .spawn()
}

fn outputs(child: &mut Child) -> Pieces {
    let out = child.stdout.take().map(|pipe| pieces(pipe, Stream::Stdout));
    let err = child.stderr.take().map(|pipe| pieces(pipe, Stream::Stderr));
    let none = || futures::stream::empty().boxed();
    select(out.unwrap_or_else(none), err.unwrap_or_else(none)).boxed()
}

/// The near end of a terminal.
struct Terminal {
    near: OwnedFd,
    /// The far end, which the command opens.
    path: PathBuf,
}

impl Terminal {
    fn open(window: Window) -> io::Result<Self> {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&near)?;
        unlockpt(&near)?;
        let path = ptsname(&near, Vec::new())?.into_string();
        let path = path.map_err(io::Error::other)?.into();
        let terminal = Self { near, path };
        terminal.resize(window)?;
        Ok(terminal)
    }

    fn resize(&self, window: Window) -> io::Result<()> {
        let size = Winsize {
            ws_row: window.rows,
            ws_col: window.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(&self.near, size)?)
    }

    /// To read or to write.
    fn file(&self) -> io::Result<tokio::fs::File> {
        let mut file = tokio::fs::File::from_std(File::from(self.near.try_clone()?));
        file.set_max_buf_size(MAX_PIECE);
        Ok(file)
    }
}

/// A command under way.
struct Attached {
    terminal: Option<Terminal>,
    end: watch::Receiver<End>,
    /// Dropped: nobody waits for it any more.
    _wanted: oneshot::Sender<()>,
}

impl Attached {
    fn new(child: Child, terminal: Option<Terminal>) -> Self {
        let (tell, end) = watch::channel(None);
        let (wanted, unwanted) = oneshot::channel();
        tokio::spawn(attend(child, unwanted, tell));
        Self {
            terminal,
            end,
            _wanted: wanted,
        }
    }
}

async fn attend(mut child: Child, unwanted: oneshot::Receiver<()>, tell: watch::Sender<End>) {
    let status = tokio::select! {
        status = child.wait() => status,
        _ = unwanted => {
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                // Its shim takes it for the end of everything. Gone is fine.
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            child.wait().await
        }
    };
    tell.send_replace(Some(status.map(code).map_err(|e| e.to_string())));
}

fn code(status: ExitStatus) -> i32 {
    let by_signal = status.signal().map(|signal| 128 + signal);
    status.code().or(by_signal).unwrap_or(-1)
}

#[async_trait]
impl Control for Attached {
    async fn resize(&self, window: Window) -> Result<(), RuntimeError> {
        let none = || RuntimeError::failed("resize", "the terminal", "the command has none");
        let terminal = self.terminal.as_ref().ok_or_else(none)?;
        let resized = terminal.resize(window);
        resized.map_err(|e| RuntimeError::failed("resize", "the terminal", e))
    }

    async fn ended(&self) -> Result<i32, RuntimeError> {
        exec::ended(self.end.clone()).await
    }
}
