//! What every long-running command needs first: logging, signals, a data directory that is ours alone, sockets bound early.

use std::fs::{self, TryLockError};
use std::io::{ErrorKind, IsTerminal, Read, Seek, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Time for tasks that are still under way when a command has ended.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// Sends log lines to standard error; `HANCOCK_LOG` chooses which ("info", "hancock_agent=debug").
pub fn tracing(default: &str) {
    let wanted = std::env::var("HANCOCK_LOG").unwrap_or_else(|_| default.to_owned());
    // Libraries tell their life story at info; who wants it names them. Who wants less of everything still gets the audit.
    let filter = format!("openraft=warn,pingora=error,audit={default},{wanted}");
    let filter = EnvFilter::new(filter);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours())
        .init();
}

/// Runs a long-running command to its end. Control work only: the data plane has threads of its own.
///
/// # Errors
/// There are no threads to be had, or the command's own.
pub fn run<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let ended = runtime.block_on(command);
    // Tasks that still wait for something must not hold up the exit.
    runtime.shutdown_timeout(LEFT_BEHIND);
    ended
}

/// Takes as many open files as the system allows: every connection is one, and the usual 1,024 are fewer than a master takes. For commands
/// that start no other programs, which would inherit it.
pub fn open_many_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// The machine's name.
///
/// # Errors
/// The system does not tell.
pub fn host_name() -> anyhow::Result<String> {
    let path = "/proc/sys/kernel/hostname";
    let name = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(name.trim().to_owned())
}

/// Colours are for people at a terminal who want them.
fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    std::io::stderr().is_terminal() && !refused
}

/// Binds `address` now, so that a port in use is an error before anything was started.
///
/// # Errors
/// The address cannot be bound; names it and the `flag` that changes it, like `--http ADDR`.
pub fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "cannot listen on {address}: address in use; choose another with {flag}"
            )
        }
        _ => anyhow::anyhow!("cannot listen on {address}: {error}; choose another with {flag}"),
    })?;
    listener
        .set_nonblocking(true)
        .with_context(|| format!("cannot make {address} non-blocking"))?;
    Ok(listener)
}

/// Where state is kept when no `--data-dir` is given.
pub fn default_data_dir() -> PathBuf {
    let home = || {
        std::env::var_os("HOME")
            .filter(|h| !h.is_empty())
            .map(|h| PathBuf::from(h).join(".local/state"))
    };
    let state = std::env::var_os("XDG_STATE_HOME")
        .filter(|s| !s.is_empty())
        .map(PathBuf::from);
    state
        .or_else(home)
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("hancock")
}

/// Version of the data directory's layout. A directory with a higher one is refused.
const DATA_FORMAT: u32 = 1;

/// File that is locked, and says by whom.
const LOCK: &str = "lock";

/// A data directory held by this process until dropped, or by another one it was handed to.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked as long as anybody has it open.
    lock: fs::File,
}

impl AsFd for DataDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

impl DataDir {
    /// Makes the directory when it is missing, locks it and checks its version.
    ///
    /// # Errors
    /// Another daemon holds it (names its pid), a newer version wrote it, or it cannot be written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| unusable("make", path))?;
        let lock = lock(path)?;
        check_format(path)?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// One that another process holds and gives to this one, with its lock.
    ///
    /// # Errors
    /// It is not the one at `path`, or cannot be used.
    pub fn taken_over(path: &Path, lock: OwnedFd) -> anyhow::Result<Self> {
        let mut data = Self {
            path: path.to_owned(),
            lock: lock.into(),
        };
        let file = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let there = fs::metadata(path.join(LOCK)).map(file).ok();
        if there != Some(file(data.lock.metadata()?)) {
            bail!(
                "the data directory is {} now, and was another one; stop the daemon and start it anew to change it",
                path.display()
            );
        }
        check_format(path)?;
        data.claim()?;
        Ok(data)
    }

    /// Has it say that this process holds it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn claim(&mut self) -> anyhow::Result<()> {
        let claimed = claim(&mut self.lock);
        claimed.with_context(|| unusable("write to", &self.path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A small text kept for ever: read when it is there, otherwise made by `fresh` and stored.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn keep(
        &self,
        name: &str,
        fresh: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<String> {
        match self.kept(name)? {
            Some(text) => Ok(text),
            None => self.store(&self.path.join(name), fresh()?),
        }
    }

    /// A text stored by [`DataDir::keep`]; None: none was.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn kept(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Forgets a text stored by [`DataDir::keep`].
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget(&self, name: &str) -> anyhow::Result<()> {
        let path = self.path.join(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    fn store(&self, path: &Path, text: String) -> anyhow::Result<String> {
        write_durably(path, &format!("{text}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(text)
    }
}

/// What cannot be done with a data directory, and the way out.
fn unusable(deed: &str, dir: &Path) -> String {
    let shown = dir.display();
    format!("cannot {deed} data directory {shown}; choose another with --data-dir DIR")
}

/// Of one length and in one piece: who reads it meanwhile finds a whole number.
fn claim(lock: &mut fs::File) -> std::io::Result<()> {
    let line = format!("{:<10}\n", std::process::id());
    lock.rewind()?;
    lock.write_all(line.as_bytes())?;
    lock.set_len(line.len() as u64)
}

fn lock(dir: &Path) -> anyhow::Result<fs::File> {
    let path = dir.join(LOCK);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = file.with_context(|| unusable("write to", dir))?;
    match file.try_lock() {
        Ok(()) => {
            claim(&mut file)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            bail!(
                "data directory {} is in use by process {}; stop that one or choose another with --data-dir DIR",
                dir.display(),
                pid.trim()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// The process that holds the data directory at `dir`, as its lock says. None: nobody does.
///
/// # Errors
/// The lock is there and cannot be looked at.
pub fn holder(dir: &Path) -> anyhow::Result<Option<u32>> {
    let path = dir.join(LOCK);
    let failed = || format!("cannot look at {}", path.display());
    let mut file = match fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(failed)?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).with_context(failed)?;
            Ok(Some(pid.trim().parse().unwrap_or(0)))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(failed),
    }
}

fn check_format(dir: &Path) -> anyhow::Result<()> {
    let path = dir.join("format");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= DATA_FORMAT => Ok(()),
            Ok(found) => bail!(
                "data directory {} has format {found}, this version of hancock ({}) knows up to {DATA_FORMAT}; \
                 use a newer hancock or another --data-dir",
                dir.display(),
                env!("CARGO_PKG_VERSION")
            ),
            Err(_) => bail!(
                "{} holds {text:?} instead of a format number; restore it or choose another --data-dir",
                path.display()
            ),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write_durably(&path, &format!("{DATA_FORMAT}\n"))
                .with_context(|| format!("cannot write {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Whole file or none: written beside, flushed, renamed, folder flushed.
fn write_durably(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent()
        .map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

/// A name that no other start has.
///
/// # Errors
/// The kernel's source of random names cannot be read.
pub fn unique() -> anyhow::Result<String> {
    let path = "/proc/sys/kernel/random/uuid";
    Ok(fs::read_to_string(path)
        .with_context(|| format!("cannot read {path}"))?
        .trim()
        .to_owned())
}

/// Asks to stop, from a person (Ctrl-C) or a service manager.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Starts listening for SIGINT and SIGTERM.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn listen() -> anyhow::Result<Self> {
        let install = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Self {
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
        })
    }

    /// Returns at the next one; call again for the second.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_port_in_use_names_address_and_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address, "--http ADDR").unwrap_err().to_string();
        assert!(
            error.contains(&address.to_string()) && error.contains("--http"),
            "{error}"
        );
    }

    #[test]
    fn a_data_directory_belongs_to_one_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert_eq!(holder(dir.path()).unwrap(), Some(std::process::id()));
        drop(held);
        assert_eq!(holder(dir.path()).unwrap(), None);
        assert_eq!(holder(&dir.path().join("none")).unwrap(), None);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn a_data_directory_is_handed_over_without_a_gap() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [held, other] = dirs
            .each_ref()
            .map(|dir| DataDir::open(dir.path()).unwrap());
        let lock = || held.as_fd().try_clone_to_owned().unwrap();
        let wrong = DataDir::taken_over(other.path(), lock()).unwrap_err();
        assert!(wrong.to_string().contains("was another one"), "{wrong}");
        let taken = DataDir::taken_over(dirs[0].path(), lock()).unwrap();
        drop(held);
        DataDir::open(dirs[0].path()).unwrap_err();
        drop(taken);
        DataDir::open(dirs[0].path()).unwrap();
    }

    #[test]
    fn a_newer_or_broken_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format"), "99\n").unwrap();
        assert!(
            DataDir::open(dir.path())
                .unwrap_err()
                .to_string()
                .contains("format 99")
        );
        fs::write(dir.path().join("format"), "x").unwrap();
        assert!(
            DataDir::open(dir.path())
                .unwrap_err()
                .to_string()
                .contains("instead of a format number")
        );
    }

    #[test]
    fn a_kept_text_stays() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let first = data.keep("id", unique).unwrap();
        assert_eq!(data.keep("id", unique).unwrap(), first);
    }
}
