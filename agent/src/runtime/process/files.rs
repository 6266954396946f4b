//! An instance's folder: what daemon and shim tell each other, in files that are replaced whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use hancock_proto::time::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::observed::{Ending, Exit, Observed, State};

use super::proc::Process;
use crate::journal::write_atomically;

/// What the daemon asks of the shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    /// The instance, its environment complete.
    pub spec: StartSpec,
    /// Control groups it shall live in.
    pub cgroups: Vec<Cgroup>,
}

/// One control group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cgroup {
    /// The instance's.
    pub path: PathBuf,
    /// Where the shim itself belongs.
    pub home: PathBuf,
}

/// What runs, written by the shim once it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    /// The shim.
    pub shim: Process,
    /// The app's first process, leader of its process group.
    pub app: Process,
    /// Since when.
    pub since: Timestamp,
}

/// The shim's answer to the daemon that started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// It runs.
    Started(Running),
    /// Another shim looks after this folder.
    Busy,
    /// It does not run.
    NotStarted {
        /// Trying again would end the same.
        permanent: bool,
        /// Why.
        reason: String,
    },
}

/// One instance's folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Working directory of specs that name none.
    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The newest log file; older ones end in `.1` and `.2`.
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// What the shim itself had to say.
    pub(super) fn shim_log(&self) -> PathBuf {
        self.0.join("shim.log")
    }

    pub(super) fn order(&self) -> io::Result<Order> {
        read(&self.0.join("order.json"))
    }

    /// Begins a new run: the former run's traces go, its log stays.
    pub(super) fn begin(&self, order: &Order) -> io::Result<()> {
        fs::create_dir_all(self.work())?;
        for name in ["running.json", "exit.json"] {
            match fs::remove_file(self.0.join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        write(&self.0.join("order.json"), order)
    }

    pub(super) fn running(&self) -> Option<Running> {
        read(&self.0.join("running.json")).ok()
    }

    pub(super) fn set_running(&self, running: &Running) -> io::Result<()> {
        write(&self.0.join("running.json"), running)
    }

    pub(super) fn set_exit(&self, exit: &Exit) -> io::Result<()> {
        write(&self.0.join("exit.json"), exit)
    }

    fn exit(&self) -> Option<Exit> {
        read(&self.0.join("exit.json")).ok()
    }

    /// The process whose end means the instance's end: the shim, or the app when its shim was killed.
    pub(super) fn alive(&self) -> Option<Process> {
        let running = self.running()?;
        let both = [running.shim, running.app];
        both.into_iter().find(|p| p.is_alive())
    }

    /// Whether anything of it runs, a shim that is only about to start it included.
    pub(super) fn is_up(&self) -> bool {
        self.alive().is_some() || self.is_locked()
    }

    fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.0.join("lock")) else {
            return false;
        };
        Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
    }

    /// The shim's claim on the folder; given up with its life. None: another one has it.
    pub(super) fn lock(&self) -> io::Result<Option<Flock<File>>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.0.join("lock"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        // The order goes last: until then the rest is still known as this instance's.
        for name in ["work", "log", "log.1", "log.2", "shim.log"] {
            let path = self.0.join(name);
            match path.is_dir() {
                true => fs::remove_dir_all(&path)?,
                false if path.exists() => fs::remove_file(&path)?,
                false => {}
            }
        }
        fs::remove_dir_all(&self.0)
    }

    /// The instance as it is.
    pub(super) fn observed(&self) -> io::Result<Observed> {
        let spec = self.order()?.spec;
        Ok(Observed {
            host_ports: spec.host_ports().collect(),
            folders: spec.folders(),
            owner: spec.owner,
            instance: spec.instance,
            app: spec.app,
            version: spec.version,
            stop: spec.stop,
            state: self.state(),
            image_digest: None,
            health: None,
        })
    }

    fn state(&self) -> State {
        // In this order: an exit is written before the shim ends, so a dead shim without one saw none.
        let (running, up) = (self.running(), self.is_up());
        match (running, up, self.exit()) {
            (running, true, _) => State::Running {
                since: running.map(|r| r.since),
            },
            (_, false, Some(exit)) => State::Exited(exit),
            (Some(running), false, None) => State::Exited(Exit {
                at: running.since,
                how: Ending::Unseen,
                tail: Vec::new(),
            }),
            (None, false, None) => State::Created,
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write_atomically(path, &serde_json::to_vec(value)?)
}
