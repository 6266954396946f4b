//! One system under test: `hancock dev` on ports and a data directory of its own, and the ways to look at it and disturb it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hancock_proto::api::{AppDetail, InstanceView, NodeView};
use hancock_testkit::daemon::Leftovers;
use hancock_testkit::http::{self, Response};
use hancock_testkit::port::{free_ports, local};
use hancock_testkit::proc::{self, Process};
use hancock_testkit::{Daemon, Load, docker, wait_for};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::runtime::Runtime;
use crate::spec::Spec;

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_hancock");

/// Time for what takes a moment on a quiet machine and longer on two busy cores.
pub const SOON: Duration = Duration::from_secs(30);

/// Time a command that waits for a deployment may take.
pub const LATE: Duration = Duration::from_secs(120);

/// A system. Fields are dropped from the top: the daemon first, then what it left.
pub struct World {
    daemon: Option<Daemon>,
    _leftovers: Leftovers,
    _containers: Containers,
    /// Name of its only node.
    pub node: String,
    pub runtime: Runtime,
    /// Value of `--runtime`.
    pub flag: &'static str,
    pub data_dir: PathBuf,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub api: SocketAddr,
    environment: Vec<(String, String)>,
    dir: TempDir,
}

/// What a command printed and ended with.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// What it printed, for a command that must succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }

    /// Everything it printed, for a command that must end with `code`.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        format!("{}{}", self.out, self.err)
    }
}

/// Runs a command to its end, which must come in time; what it prints goes through files in `dir`.
#[track_caller]
pub fn finish(command: &mut Command, dir: &Path) -> Ran {
    static COMMANDS: AtomicU64 = AtomicU64::new(0);
    let number = COMMANDS.fetch_add(1, Ordering::Relaxed);
    let [out, err] = ["out", "err"].map(|name| dir.join(format!("{number}.{name}")));
    command.stdin(Stdio::null());
    command
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let mut ended = || child.try_wait().unwrap().ok_or("still running");
    let status =
        hancock_testkit::wait::try_wait_for(&format!("the end of {command:?}"), LATE, &mut ended);
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let (out, err) = (read(&out), read(&err));
    let status = status.unwrap_or_else(|late| {
        let _ = child.kill();
        panic!("{late}\n{out}{err}")
    });
    Ran {
        code: status.code(),
        out,
        err,
    }
}

impl World {
    /// A running system without apps.
    pub fn start(runtime: Runtime) -> Self {
        let mut world = Self::at_rest(runtime);
        world.up(&[]);
        world
    }

    /// A running system with [`Spec::web`] applied and serving.
    pub fn serving(runtime: Runtime) -> Self {
        let world = Self::start(runtime);
        world.apply(&Spec::web(runtime));
        world
    }

    /// Everything it needs, nothing started.
    pub fn at_rest(runtime: Runtime) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [http, admin, api] = free_ports::<3>().map(local);
        let data_dir = dir.path().join("data");
        // A name of its own, by which its containers are found again whatever becomes of the test.
        let node = dir
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .replace('.', "e2e-");
        fs::create_dir(&data_dir).unwrap();
        fs::write(data_dir.join("node"), format!("{node}\n")).unwrap();
        Self {
            daemon: None,
            _leftovers: Leftovers::of(dir.path()),
            _containers: Containers(node.clone(), runtime),
            node,
            runtime,
            flag: runtime.flag(),
            data_dir,
            http,
            admin,
            api,
            environment: vec![("HANCOCK_LOG".to_owned(), "info".to_owned())],
            dir,
        }
    }

    /// A variable for every later start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A folder that goes with the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the daemon and waits until its API answers and its node is alive.
    #[track_caller]
    pub fn up(&mut self, args: &[&str]) {
        self.spawn(args);
        wait_for("a living node", SOON, || {
            let nodes: Vec<NodeView> = self
                .ask("/v1/nodes")
                .map_err(|e| format!("{e}\n{}", self.told()))?;
            if nodes.iter().any(|n| n.state == "alive") {
                Ok(())
            } else {
                Err(format!("{nodes:?}"))
            }
        });
    }

    /// Starts the daemon.
    pub fn spawn(&mut self, args: &[&str]) {
        let mut command = self.dev();
        command.args(args);
        self.daemon = Some(Daemon::start(&mut command, &self.dir().join("log")));
    }

    /// `hancock dev` with this world's addresses.
    pub fn dev(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["dev", "--runtime", self.flag]);
        for (flag, address) in [
            ("--http", self.http),
            ("--admin", self.admin),
            ("--api", self.api),
        ] {
            command.args([flag, &address.to_string()]);
        }
        command
            .arg("--data-dir")
            .arg(&self.data_dir)
            .current_dir(self.dir());
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }

    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().unwrap()
    }

    fn told(&self) -> String {
        self.daemon.as_ref().map(Daemon::told).unwrap_or_default()
    }

    /// SIGKILL of the daemon alone.
    pub fn crash(&mut self) {
        self.daemon().crash();
        self.daemon = None;
    }

    /// Ctrl-C, and the end it leads to.
    #[track_caller]
    pub fn interrupt(&mut self) -> ExitStatus {
        self.daemon().signal(Signal::SIGINT);
        let status = self.daemon().wait_exit(Duration::from_secs(45));
        self.daemon = None;
        status
    }

    /// A file in the test's folder.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs a client command to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.client(args);
        self.finish(&mut command)
    }

    /// A client command, to be started.
    pub fn client(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(args)
            .env("HANCOCK_MASTER", format!("http://{}", self.api))
            .current_dir(self.dir());
        command
    }

    /// Runs a command to its end, which must come in time.
    #[track_caller]
    pub fn finish(&self, command: &mut Command) -> Ran {
        finish(command, self.dir())
    }

    /// `app apply --wait`, which must succeed.
    #[track_caller]
    pub fn apply(&self, spec: &Spec) {
        self.try_apply(spec).ok();
    }

    /// `app apply --wait`.
    #[track_caller]
    pub fn try_apply(&self, spec: &Spec) -> Ran {
        let file = self.write(&format!("{}-{}.yaml", spec.app, spec.version), &spec.text());
        self.run(&["app", "apply", &file, "--wait"])
    }

    /// Asks the API.
    pub fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let answer = http::get(self.api, "api", path)?;
        if answer.status != 200 {
            return Err(format!("{path}: {} {}", answer.status, answer.body));
        }
        serde_json::from_str(&answer.body).map_err(|e| format!("{path}: {e} in {}", answer.body))
    }

    /// One request of an end user.
    pub fn get(&self, app: &str, path: &str) -> Result<Response, String> {
        http::get(self.http, &format!("{app}.localhost"), path)
    }

    /// Load on an app, both kinds of connections.
    pub fn load(&self, app: &str, rate: u32) -> hancock_testkit::load::Running {
        Load::to(self.http, &format!("{app}.localhost"))
            .rate(rate)
            .start()
    }

    pub fn detail(&self, app: &str) -> Result<AppDetail, String> {
        self.ask(&format!("/v1/apps/{app}"))
    }

    /// Instances of `app` that are not over.
    pub fn instances(&self, app: &str) -> Result<Vec<InstanceView>, String> {
        let all: Vec<InstanceView> = self.ask(&format!("/v1/instances?app={app}"))?;
        Ok(all.into_iter().filter(|i| !i.life.is_over()).collect())
    }

    /// Waits until exactly `count` instances of `app` run and all of them serve; gives them in order of their ids.
    #[track_caller]
    pub fn wait_serving(&self, app: &str, count: usize) -> Vec<InstanceView> {
        wait_for(&format!("{count} serving instances of {app}"), SOON, || {
            let mut there = self.instances(app)?;
            let serving = |i: &InstanceView| i.routed && i.ready.as_ref().is_some_and(|r| r.value);
            if there.len() != count || !there.iter().all(serving) {
                return Err(format!("{there:#?}"));
            }
            there.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(there)
        })
    }

    /// Waits until an end user's request is answered with `word` first.
    #[track_caller]
    pub fn wait_answer(&self, app: &str, word: &str) -> Response {
        wait_for(&format!("{app} answering {word}"), SOON, || {
            let answer = self.get(app, "/")?;
            if answer.status == 200 && answer.first_word() == word {
                Ok(answer)
            } else {
                Err(format!("{answer:?}"))
            }
        })
    }

    /// The process that is the instance: the one that listens on its port.
    #[track_caller]
    pub fn process(&self, instance: &InstanceView) -> Process {
        wait_for(&format!("the process of {}", instance.id), SOON, || {
            self.find_process(instance).ok_or(format!("{instance:?}"))
        })
    }

    fn find_process(&self, instance: &InstanceView) -> Option<Process> {
        match self.runtime {
            Runtime::Docker => {
                let ids = docker::containers(&format!("hancock.node={}", self.node)).ok()?;
                let wanted = instance.id.to_string();
                let is_it =
                    |id: &&String| docker::inspect(id, LABEL).is_ok_and(|label| label == wanted);
                docker::pid(ids.iter().find(is_it)?).and_then(Process::find)
            }
            Runtime::Process => proc::listener(address(instance).port()),
        }
    }

    /// The processes of all instances of `app`, by id.
    #[track_caller]
    pub fn processes(&self, app: &str, count: usize) -> Vec<(String, Process)> {
        let instances = self.wait_serving(app, count);
        instances
            .iter()
            .map(|i| (i.id.to_string(), self.process(i)))
            .collect()
    }
}

/// Where an instance listens.
pub fn address(instance: &InstanceView) -> SocketAddr {
    instance.address.as_deref().unwrap().parse().unwrap()
}

/// The label that names a container's instance, in Docker's template language.
const LABEL: &str = "{{index .Config.Labels \"hancock.instance\"}}";

/// Containers of a node, removed on drop.
struct Containers(String, Runtime);

impl Drop for Containers {
    fn drop(&mut self) {
        if self.1 == Runtime::Docker {
            let label = format!("hancock.node={}", self.0);
            docker::remove_all(&label);
            docker::remove_volumes(&label);
        }
    }
}
