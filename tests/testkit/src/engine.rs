//! A Docker engine of a test's own, which it may kill: containerd and dockerd as two processes, containers outliving both. Its bridge is its
//! own too: an engine that is told to have none removes that of the machine's engine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::Uid;
use tempfile::TempDir;

use crate::daemon::{Daemon, Leftovers};
use crate::wait::wait_for;
use crate::{docker, fixture};

/// Time the engine has to answer after its start; it looks at every container first.
const START: Duration = Duration::from_secs(60);

/// Why there can be none here; None: it can be started.
pub fn missing() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("only root may start a Docker engine".to_owned());
    }
    let programs = ["dockerd", "containerd", "docker", "ip"];
    programs
        .iter()
        .find_map(|program| fixture::missing(program))
}

/// The engine. Fields are dropped from the top.
#[derive(Debug)]
pub struct Engine {
    dockerd: Option<Daemon>,
    _containerd: Daemon,
    _leftovers: Leftovers,
    _mounts: Mounts,
    bridge: Bridge,
    dir: TempDir,
}

/// A bridge for one engine, by its name.
#[derive(Debug)]
struct Bridge(String);

impl Bridge {
    fn create() -> Self {
        let number = std::process::id();
        let bridge = Self(format!("hck{number}"));
        let address = format!("198.19.{}.1/24", number % 256);
        ip(&["link", "add", "name", &bridge.0, "type", "bridge"]);
        ip(&["address", "add", &address, "dev", &bridge.0]);
        bridge
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["link", "delete", &self.0])
            .status();
    }
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {args:?}: {said}");
}

/// What an engine that was killed left mounted below a folder, taken away on drop: without that the folder cannot be removed.
#[derive(Debug)]
struct Mounts(PathBuf);

impl Drop for Mounts {
    fn drop(&mut self) {
        let all = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = all.lines().filter_map(|line| line.split(' ').nth(1));
        let mut below: Vec<&str> = points
            .filter(|p| Path::new(p).starts_with(&self.0))
            .collect();
        // What was mounted last lies above what came before.
        below.reverse();
        for point in below {
            let _ = Command::new("umount").args(["--lazy", point]).status();
        }
    }
}

impl Engine {
    /// Starts one without images; returns when it answers.
    ///
    /// # Panics
    /// It does not.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let containerd = containerd(dir.path());
        let mut engine = Self {
            dockerd: None,
            _containerd: containerd,
            _leftovers: Leftovers::of(dir.path()),
            _mounts: Mounts(dir.path().to_owned()),
            bridge: Bridge::create(),
            dir,
        };
        engine.restart();
        engine
    }

    /// SIGKILL of dockerd; its containers go on.
    pub fn crash(&mut self) {
        if let Some(mut dockerd) = self.dockerd.take() {
            dockerd.crash();
        }
    }

    /// Starts dockerd again on the same data; returns when it answers.
    ///
    /// # Panics
    /// It does not.
    pub fn restart(&mut self) {
        self.begin();
        self.wait_ready();
    }

    /// Starts dockerd again, without waiting for it.
    pub fn begin(&mut self) {
        let at = |name: &str| self.dir.path().join(name);
        // It refuses to start over a pid file whose number has been given to something else.
        for stale in ["dockerd.pid", "docker.sock"] {
            let _ = std::fs::remove_file(at(stale));
        }
        let mut command = Command::new("dockerd");
        command.args(["--live-restore", "--iptables=false"]);
        command.arg("--bridge").arg(&self.bridge.0);
        command.arg("--containerd").arg(at("containerd.sock"));
        command.arg("--data-root").arg(at("data"));
        command.arg("--exec-root").arg(at("exec"));
        command.arg("--pidfile").arg(at("dockerd.pid"));
        command.arg("--host").arg(self.host());
        self.dockerd = Some(Daemon::start(&mut command, &at("dockerd.log")));
    }

    /// Waits until it answers.
    ///
    /// # Panics
    /// It does not.
    pub fn wait_ready(&self) {
        wait_for("the engine", START, || {
            let told = self.dockerd.as_ref().map(Daemon::told).unwrap_or_default();
            let answer = self.docker(&["version", "--format", "{{.Server.Version}}"]);
            answer.map_err(|e| format!("{e}\n{told}"))
        });
    }

    /// What `DOCKER_HOST` is set to.
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("docker.sock").display())
    }

    /// Runs `docker` with `args` on it.
    ///
    /// # Errors
    /// As [`docker::run`].
    pub fn docker(&self, args: &[&str]) -> Result<String, String> {
        docker::run(&[&["--host", &self.host()], args].concat())
    }

    /// Gives it an image of the machine's engine.
    ///
    /// # Panics
    /// That has none of this name.
    pub fn load(&self, image: &str) {
        let file = self.dir.path().join("image.tar").display().to_string();
        docker::run(&["save", "--output", &file, image]).unwrap();
        self.docker(&["load", "--input", &file]).unwrap();
    }

    /// Ids of its containers, running or not.
    ///
    /// # Errors
    /// It does not answer.
    pub fn containers(&self, filters: &[&str]) -> Result<Vec<String>, String> {
        let ids = self.docker(&[&["ps", "--quiet", "--no-trunc"], filters].concat())?;
        Ok(ids.lines().map(str::to_owned).collect())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.dockerd.is_none() {
            self.begin();
        }
        let ready = || self.containers(&["--all"]);
        // What cannot be removed is ended with everything else that belongs to the folder.
        let all = crate::wait::try_wait_for("the engine", START, ready).unwrap_or_default();
        if !all.is_empty() {
            let ids: Vec<&str> = all.iter().map(String::as_str).collect();
            let _ = self.docker(&[&["rm", "--force", "--volumes"], ids.as_slice()].concat());
        }
    }
}

fn containerd(dir: &Path) -> Daemon {
    let at = |name: &str| -> PathBuf { dir.join(name) };
    let config = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{}\"\n",
        at("containerd").display(),
        at("containerd-run").display(),
        at("containerd.sock").display()
    );
    std::fs::write(at("containerd.toml"), config).unwrap();
    let mut command = Command::new("containerd");
    command.arg("--config").arg(at("containerd.toml"));
    command.stdin(Stdio::null());
    let daemon = Daemon::start(&mut command, &at("containerd.log"));
    wait_for("containerd", START, || {
        match at("containerd.sock").exists() {
            true => Ok(()),
            false => Err(daemon.told()),
        }
    });
    daemon
}
