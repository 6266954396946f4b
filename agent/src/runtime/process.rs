//! Instances as plain processes, for machines without a container engine.
//!
//! Each has a folder and a small shim process beside it, which outlives the daemon: it catches the output, waits for the end and writes
//! down how it came. The daemon recognises its own by recorded pid and start time, and never guesses.

mod cgroup;
mod exec;
mod files;
mod follow;
mod launch;
mod limits;
mod output;
mod proc;
mod shim;
mod watch;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hancock_proto::app::{Limits, Resources};
use hancock_proto::exec::Order;
use hancock_proto::ids::InstanceId;
use nix::sys::signal::Signal;
use tokio::sync::watch as notice;

use hancock_agent_core::environment::{PortSide, StartSpec};
use hancock_agent_core::observed::{Observed, Owner, StopRule};

use super::{ContainerRuntime, Exec, Lines, LogQuery, RuntimeError};
use files::Folder;
use proc::Process;
use watch::Watches;

pub use shim::shim_main;

/// Time an instance has to be gone after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// How instances are kept.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// Folder of the instances' folders.
    pub data_dir: PathBuf,
    /// The command that runs the shim; the instance's folder is added to it.
    pub shim: Vec<OsString>,
}

impl ProcessOptions {
    /// Below `data_dir`, with this very program's hidden command as shim.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            // Not by name: the file may have been replaced by a newer version since this program started.
            shim: vec!["/proc/self/exe".into(), "shim".into()],
        }
    }
}

/// Plain processes.
#[derive(Debug)]
pub struct ProcessRuntime {
    instances: PathBuf,
    shim: Vec<OsString>,
    watches: Arc<Watches>,
}

impl ProcessRuntime {
    /// Prepares the folder of the instances.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new(options: ProcessOptions) -> Result<Self, RuntimeError> {
        let instances = options.data_dir.join("instances");
        let created = fs::create_dir_all(&instances).and_then(|()| instances.canonicalize());
        Ok(Self {
            instances: created
                .map_err(|e| RuntimeError::failed("create", instances.display(), e))?,
            shim: options.shim,
            watches: Arc::default(),
        })
    }

    fn folder(&self, instance: &InstanceId) -> Folder {
        Folder::new(self.instances.join(instance.as_str()))
    }

    /// The instance's folder, when it is this owner's.
    fn folder_of(&self, owner: &Owner, instance: &InstanceId) -> Option<Folder> {
        let folder = self.folder(instance);
        let order = folder.order().ok()?;
        (order.spec.owner == *owner).then_some(folder)
    }

    /// Signals everything of an instance and waits for its end. False: it did not end in time.
    async fn end(&self, folder: &Folder, signal: Signal, time: Duration) -> io::Result<bool> {
        let Some(process) = folder.alive() else {
            return Ok(true);
        };
        if let Some(running) = folder.running() {
            proc::signal_group(running.app, signal)?;
        }
        proc::wait(process, time).await
    }
}

#[async_trait]
impl ContainerRuntime for ProcessRuntime {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn port_side(&self) -> PortSide {
        PortSide::Host
    }

    async fn version(&self) -> Result<String, RuntimeError> {
        Ok(String::new())
    }

    async fn prepare(&self, spec: &StartSpec) -> Result<(), RuntimeError> {
        limits::check(spec)
    }

    async fn start(&self, spec: &StartSpec) -> Result<Observed, RuntimeError> {
        limits::check(spec)?;
        let folder = self.folder(&spec.instance);
        let process = launch::launch(&folder, spec, &self.shim).await?;
        self.watches.watch(&spec.instance, process);
        self.watches.notify();
        folder
            .observed()
            .map_err(|e| RuntimeError::failed("start", &spec.instance, e))
    }

    async fn limit(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        reserved: &Resources,
        limits: &Limits,
    ) -> Result<(), RuntimeError> {
        let failed = |why: String| RuntimeError::failed("limit", instance, why);
        let folder = self.folder_of(owner, instance);
        let up = folder.filter(|folder| folder.running().is_some_and(|r| r.app.is_alive()));
        let folder = up.ok_or_else(|| failed("it does not run".to_owned()))?;
        cgroup::change(folder.path(), reserved, limits).map_err(|e| failed(e.to_string()))
    }

    async fn stop(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        rule: &StopRule,
    ) -> Result<(), RuntimeError> {
        let Some(folder) = self.folder_of(owner, instance) else {
            return Ok(());
        };
        let failed = |e: io::Error| RuntimeError::failed("stop", instance, e);
        // An unknown signal was refused at the start; a hand-edited one must not keep it running.
        let signal = limits::signal(&rule.signal).unwrap_or(Signal::SIGTERM);
        let grace = rule.grace.duration();
        if self.end(&folder, signal, grace).await.map_err(failed)? {
            self.watches.notify();
            return Ok(());
        }
        self.kill(owner, instance).await
    }

    async fn kill(&self, owner: &Owner, instance: &InstanceId) -> Result<(), RuntimeError> {
        let Some(folder) = self.folder_of(owner, instance) else {
            return Ok(());
        };
        let ended = self.end(&folder, Signal::SIGKILL, KILL_TIMEOUT).await;
        self.watches.notify();
        match ended {
            Ok(true) => Ok(()),
            Ok(false) => Err(RuntimeError::failed(
                "kill",
                instance,
                "it still runs 10 s after SIGKILL",
            )),
            Err(e) => Err(RuntimeError::failed("kill", instance, e)),
        }
    }

    async fn signal(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        signal: &str,
    ) -> Result<(), RuntimeError> {
        let failed = |why: String| RuntimeError::failed("signal", instance, why);
        let number =
            limits::signal(signal).ok_or_else(|| failed(format!("{signal:?} is no signal")))?;
        let folder = self.folder_of(owner, instance);
        let running = folder.and_then(|folder| folder.running());
        let app = running
            .map(|running| running.app)
            .filter(|app| app.is_alive());
        let app = app.ok_or_else(|| failed("it does not run".to_owned()))?;
        proc::signal_group(app, number).map_err(|e| failed(e.to_string()))
    }

    async fn remove(&self, owner: &Owner, instance: &InstanceId) -> Result<(), RuntimeError> {
        let Some(folder) = self.folder_of(owner, instance) else {
            return Ok(());
        };
        if folder.is_up() {
            return Err(RuntimeError::failed("remove", instance, "it still runs"));
        }
        cgroup::remove(folder.path());
        let removed = folder.remove();
        self.watches.notify();
        removed.map_err(|e| RuntimeError::failed("remove", instance, e))
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        let failed = |e: io::Error| RuntimeError::failed("list", self.instances.display(), e);
        let mut list = Vec::new();
        for entry in fs::read_dir(&self.instances).map_err(failed)? {
            let folder = Folder::new(entry.map_err(failed)?.path());
            match folder.observed() {
                Ok(seen) => {
                    if let Some(process) = folder.alive() {
                        self.watches.watch(&seen.instance, process);
                    }
                    list.push(seen);
                }
                // Made by a start that did not come far; nothing can run from it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // A start in it finds the shim's lock taken, should it run in spite of all: no second one comes up.
                Err(error) => {
                    tracing::warn!(folder = %folder.path().display(), %error, "folder passed over");
                }
            }
        }
        Ok(list)
    }

    fn changes(&self) -> notice::Receiver<u64> {
        self.watches.changes()
    }

    async fn logs(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        query: LogQuery,
    ) -> Result<Lines, RuntimeError> {
        match self.folder_of(owner, instance) {
            Some(folder) => Ok(follow::lines(folder, instance.clone(), query)),
            None => Err(RuntimeError::failed(
                "read the log of",
                instance,
                "it has no folder on this node",
            )),
        }
    }

    async fn exec(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        order: &Order,
    ) -> Result<Exec, RuntimeError> {
        match self.folder_of(owner, instance) {
            Some(folder) => exec::exec(&folder, instance, order, &self.shim),
            None => Err(RuntimeError::failed(
                "run a command in",
                instance,
                "it has no folder on this node",
            )),
        }
    }
}

impl ProcessRuntime {
    /// Pid of an instance's own process, for tools and tests. None: it does not run.
    pub fn pid(&self, instance: &InstanceId) -> Option<i32> {
        let app: Process = self.folder(instance).running()?.app;
        app.is_alive().then_some(app.pid)
    }
}
