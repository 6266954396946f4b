//! A node: `hancock agent` with a directory, a configuration file and ports of its own.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use hancock_testkit::daemon::Leftovers;
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::proc::Process;
use hancock_testkit::wait::wait_for;
use hancock_testkit::{Daemon, docker, proc};
use nix::sys::signal::Signal;

use crate::masters::cluster::LATE;
use crate::runtime::Runtime;
use crate::world::{BINARY, finish};

/// Host ports of one node: enough for two generations of an app.
pub const PORTS: u16 = 12;

/// Fields are dropped from the top: the daemon first, then what it left.
pub struct Node {
    daemon: Option<Daemon>,
    _leftovers: Leftovers,
    containers: Option<Containers>,
    /// Its name.
    pub name: String,
    /// The first of its host ports.
    pub first_port: u16,
    /// Where end users' requests enter.
    pub http: SocketAddr,
    dir: tempfile::TempDir,
}

impl Node {
    /// A node of plain processes that knows one master; nothing is started.
    pub fn new(name: &str, token: &str, master: SocketAddr) -> Self {
        Self::of(Runtime::Process, name, token, master)
    }

    /// A node with a name no other test has, by which its containers are found again whatever becomes of the test.
    pub fn alone(runtime: Runtime, token: &str, master: SocketAddr) -> Self {
        let name = format!("e2e-{}-{}", std::process::id(), quiet_port());
        Self::of(runtime, &name, token, master)
    }

    fn of(runtime: Runtime, name: &str, token: &str, master: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [http, admin, stream] = std::array::from_fn(|_| local(quiet_port()));
        let first = quiet_range();
        let data = dir.path().join("data");
        let text = format!(
            "node = {name:?}\nmasters = [\"{master}\"]\njoin-token = {token:?}\nruntime = {:?}\ndata-dir = {data:?}\nhttp = \"{http}\"\n\
             admin = \"{admin}\"\nstream-admin = \"{stream}\"\ninstance-ports = \"{first}-{}\"\n",
            runtime.flag(),
            first + PORTS - 1
        );
        fs::write(dir.path().join("agent.toml"), text).unwrap();
        Self {
            daemon: None,
            _leftovers: Leftovers::of(dir.path()),
            containers: (runtime == Runtime::Docker).then(|| Containers(name.to_owned())),
            name: name.to_owned(),
            first_port: first,
            http,
            dir,
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// More lines of the configuration.
    pub fn add(&self, lines: &str) {
        let path = self.dir().join("agent.toml");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// Another value of a key the configuration has.
    pub fn put(&self, key: &str, value: &str) {
        let path = self.dir().join("agent.toml");
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| match line.starts_with(key) {
            true => format!("{key} = {value}\n"),
            false => format!("{line}\n"),
        });
        fs::write(&path, lines.collect::<String>()).unwrap();
    }

    /// Starts the agent.
    pub fn spawn(&mut self) {
        let mut command = command(&self.dir().join("agent.toml"));
        command.current_dir(self.dir());
        self.daemon = Some(Daemon::start(&mut command, &self.dir().join("log")));
        self.daemon().wait_line("proxy http", LATE);
    }

    /// Starts the agent beside what is left of a former one; it is not the node's to look after.
    pub fn spawn_beside(&self) -> Daemon {
        let mut command = command(&self.dir().join("agent.toml"));
        command.current_dir(self.dir());
        let mut daemon = Daemon::start(&mut command, &self.dir().join("beside.log"));
        daemon.wait_line("proxy http", LATE);
        daemon
    }

    /// A start with another configuration of one line.
    pub fn command_with(&self, line: &str) -> Command {
        let path = self.dir().join("other.toml");
        fs::write(&path, format!("{line}\n")).unwrap();
        command(&path)
    }

    fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().unwrap()
    }

    /// The agent stands still, or goes on.
    pub fn signal(&mut self, signal: Signal) {
        self.daemon().signal(signal);
    }

    /// Every host port instances may get.
    pub fn ports(&self) -> std::ops::Range<u16> {
        self.first_port..self.first_port + PORTS
    }

    /// Everything on the machine ends at once, as when it loses its power.
    pub fn lose_power(&mut self) {
        self.daemon = None;
        if let Some(containers) = &self.containers {
            containers.kill();
        }
        wait_for("everything to be gone", LATE, || {
            let left = proc::belonging_to(self.dir());
            left.iter().for_each(|p| p.signal(Signal::SIGKILL));
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        });
    }

    /// `hancock agent upgrade`, which must succeed.
    #[track_caller]
    pub fn upgrade(&self) {
        let mut command = Command::new(BINARY);
        let config = self.dir().join("agent.toml");
        command.args(["agent", "upgrade", "--config"]).arg(config);
        finish(&mut command, self.dir()).ok();
    }

    /// The process that serves.
    pub fn serves(&self) -> i32 {
        let pid = fs::read_to_string(self.dir().join("data/lock")).unwrap();
        pid.trim().parse().unwrap()
    }

    /// SIGKILL of the agent alone.
    pub fn crash(&mut self) {
        self.daemon().crash();
        self.daemon = None;
    }

    /// SIGTERM, and the end it leads to.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.daemon().signal(Signal::SIGTERM);
        assert!(self.daemon().wait_exit(LATE).success());
        self.daemon = None;
    }

    /// SIGTERM of the process that serves after an upgrade, and its end.
    #[track_caller]
    pub fn terminate_upgraded(&mut self) {
        let serves = Process::find(self.serves()).unwrap();
        serves.signal(Signal::SIGTERM);
        wait_for("the end of the agent", LATE, || match serves.is_alive() {
            true => Err("still there"),
            false => Ok(()),
        });
    }

    /// Waits until the agent has told `text`.
    #[track_caller]
    pub fn wait_told(&mut self, text: &str) {
        self.daemon().wait_line(text, LATE);
    }

    /// A file in the node's folder.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// Containers of a node, removed on drop.
struct Containers(String);

impl Containers {
    fn label(&self) -> String {
        format!("hancock.node={}", self.0)
    }

    fn kill(&self) {
        for id in docker::containers(&self.label()).unwrap() {
            // One that has ended already is no failure.
            let _ = docker::run(&["kill", &id]);
        }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        docker::remove_all(&self.label());
    }
}

fn command(config: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["agent", "--config"]).arg(config);
    command
}

/// The first of [`PORTS`] quiet ports in a row.
pub fn quiet_range() -> u16 {
    let mut run = (0, 0);
    wait_for("quiet ports in a row", LATE, || {
        let port = quiet_port();
        run = if run.1 > 0 && port == run.0 + run.1 {
            (run.0, run.1 + 1)
        } else {
            (port, 1)
        };
        if run.1 == PORTS {
            Ok(run.0)
        } else {
            Err(format!("{run:?}"))
        }
    })
}
