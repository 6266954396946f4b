//! Masters on loopback ports, each with a directory and a configuration file of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::api::MasterView;
use hancock_testkit::Daemon;
use hancock_testkit::http::{self, Response};
use hancock_testkit::paths::Paths;
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::wait::wait_for;
use hancock_tls::Pin;
use nix::sys::signal::Signal;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::world::{BINARY, Ran, finish};

/// Far more than anything here takes on a loaded machine.
pub const LATE: Duration = Duration::from_secs(30);

/// Where masters reach each other when the ways between them can be cut.
const APART: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub struct Cluster {
    masters: Vec<Master>,
    /// The operator's token.
    pub token: String,
    /// The agents' token.
    pub join: String,
    /// What masters say to each other goes over these; None: directly.
    paths: Option<Paths>,
    /// What the first master is begun with.
    init: &'static [&'static str],
    dir: tempfile::TempDir,
}

struct Master {
    name: String,
    config: PathBuf,
    log: PathBuf,
    api: SocketAddr,
    agents: SocketAddr,
    peers: SocketAddr,
    /// Its program.
    binary: PathBuf,
    daemon: Option<Daemon>,
    /// It stands still: nobody waits for its answers.
    paused: bool,
}

impl Cluster {
    /// Masters m1 to m`n`, all with a vote; encrypted, as they are when nobody says otherwise.
    pub fn start(n: usize) -> Self {
        Self::start_on(n, |_| ())
    }

    /// As [`Cluster::start`], without certificates.
    pub fn start_plain(n: usize) -> Self {
        Self::begin(n, &["--insecure"], None, |_| ())
    }

    /// As [`Cluster::start`]; the ways between them can be cut.
    pub fn start_apart(n: usize) -> Self {
        Self::begin(n, &[], Some(Paths::default()), |_| ())
    }

    /// As [`Cluster::start`]; `disk` makes the first one's directory.
    pub fn start_on(n: usize, disk: impl FnOnce(&Path)) -> Self {
        Self::begin(n, &[], None, disk)
    }

    fn begin(
        n: usize,
        init: &'static [&'static str],
        paths: Option<Paths>,
        disk: impl FnOnce(&Path),
    ) -> Self {
        let mut cluster = Self {
            init,
            masters: Vec::new(),
            token: String::new(),
            join: String::new(),
            paths,
            dir: tempfile::tempdir().unwrap(),
        };
        let first = cluster.prepare("m1");
        disk(&cluster.path("m1"));
        let init = [&["master", "init", "--output", "json"], cluster.init].concat();
        let init = cluster.run(first, &init);
        let founded: Value = serde_json::from_str(&init.ok()).unwrap();
        let text = |name: &str| founded[name].as_str().unwrap().to_owned();
        (cluster.token, cluster.join) = (text("operator_token"), text("join_token"));
        cluster.spawn(first);
        cluster.daemon(first).wait_line("API http", LATE);
        for number in 2..=n {
            let next = cluster.prepare(&format!("m{number}"));
            let contact = cluster.peers(first).to_string();
            cluster.run(next, &["master", "join", &contact]).ok();
            cluster.spawn(next);
        }
        cluster.wait_voters(n);
        cluster
    }

    /// A configuration nothing was done with yet; its number.
    pub fn prepare(&mut self, name: &str) -> usize {
        let [api, agents, peers] = std::array::from_fn(|_| local(quiet_port()));
        let data = self.dir.path().join(name);
        let config = self.dir.path().join(format!("{name}.toml"));
        let text = format!(
            "name = {name:?}\ndata-dir = {data:?}\napi = \"{api}\"\nagents = \"{agents}\"\npeers = \"{peers}\"\n"
        );
        let apart = self.paths.as_ref().map(|paths| {
            // The same ports of another loopback address.
            for door in [api, agents, peers] {
                let front = SocketAddr::new(APART.into(), door.port());
                paths.lead(front, door, self.masters.len());
            }
            format!("advertise = \"{APART}\"\n")
        });
        fs::write(&config, text + &apart.unwrap_or_default()).unwrap();
        self.masters.push(Master {
            name: name.to_owned(),
            log: self.dir.path().join(format!("{name}.log")),
            config,
            api,
            agents,
            peers,
            binary: BINARY.into(),
            daemon: None,
            paused: false,
        });
        self.masters.len() - 1
    }

    /// Runs a command with a master's configuration.
    #[track_caller]
    pub fn run(&self, master: usize, args: &[&str]) -> Ran {
        self.run_with(master, args, &self.token)
    }

    /// As [`Cluster::run`], with another token.
    #[track_caller]
    pub fn run_with(&self, master: usize, args: &[&str], token: &str) -> Ran {
        let mut command = Command::new(&self.masters[master].binary);
        command
            .args(args)
            .arg("--config")
            .arg(&self.masters[master].config);
        command.env("HANCOCK_TOKEN", token);
        finish(&mut command, self.dir.path())
    }

    /// Runs a command that asks the first living master.
    #[track_caller]
    pub fn ask(&self, args: &[&str]) -> Ran {
        self.ask_with(args, &self.token)
    }

    /// As [`Cluster::ask`], with another token.
    #[track_caller]
    pub fn ask_with(&self, args: &[&str], token: &str) -> Ran {
        let living = self.masters.iter().position(|m| m.answers()).unwrap();
        let mut command = self.client(living, args);
        command.env("HANCOCK_TOKEN", token);
        finish(&mut command, self.dir.path())
    }

    /// A command of this master's version that asks it, to be started.
    pub fn client(&self, master: usize, args: &[&str]) -> Command {
        let mut command = Command::new(&self.masters[master].binary);
        command.args(args).env("HANCOCK_TOKEN", &self.token);
        let scheme = match Pin::of_token(&self.token) {
            Some(_) => "https",
            None => "http",
        };
        let api = self.masters[master].api;
        command.env("HANCOCK_MASTER", format!("{scheme}://{api}"));
        command
    }

    /// From the next start on it is this program.
    pub fn install(&mut self, master: usize, binary: &Path) {
        self.masters[master].binary = binary.to_owned();
    }

    /// Starts a master.
    pub fn spawn(&mut self, number: usize) {
        let master = &mut self.masters[number];
        let mut command = Command::new(&master.binary);
        command
            .args(["master", "run", "--config"])
            .arg(&master.config);
        let daemon = Daemon::start(&mut command, &master.log);
        if let Some(paths) = &self.paths {
            paths.is(number, daemon.pid());
        }
        master.daemon = Some(daemon);
    }

    /// The ways between masters that were started apart.
    pub fn paths(&self) -> Paths {
        self.paths.clone().unwrap()
    }

    fn daemon(&mut self, master: usize) -> &mut Daemon {
        self.masters[master].daemon.as_mut().unwrap()
    }

    pub fn signal(&mut self, master: usize, signal: Signal) {
        self.daemon(master).signal(signal);
    }

    /// It stands still until [`Cluster::resume`].
    pub fn pause(&mut self, master: usize, signal: Signal) {
        self.signal(master, signal);
        self.masters[master].paused = true;
    }

    /// It goes on.
    pub fn resume(&mut self, master: usize) {
        self.signal(master, Signal::SIGCONT);
        self.masters[master].paused = false;
    }

    /// SIGKILL.
    pub fn crash(&mut self, master: usize) {
        self.daemon(master).crash();
        self.masters[master].daemon = None;
    }

    #[track_caller]
    pub fn wait_exit(&mut self, master: usize) -> ExitStatus {
        let status = self.daemon(master).wait_exit(LATE);
        self.masters[master].daemon = None;
        status
    }

    /// Everything a master has printed.
    pub fn told(&self, master: usize) -> String {
        fs::read_to_string(&self.masters[master].log).unwrap()
    }

    /// A path in the test's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its disk is gone.
    pub fn wipe(&self, master: usize) {
        fs::remove_dir_all(self.path(&self.masters[master].name)).unwrap();
    }

    pub fn names(&self) -> Vec<String> {
        self.masters.iter().map(|m| m.name.clone()).collect()
    }

    pub fn api(&self, master: usize) -> SocketAddr {
        self.masters[master].api
    }

    pub fn agents(&self, master: usize) -> SocketAddr {
        self.masters[master].agents
    }

    pub fn peers(&self, master: usize) -> SocketAddr {
        self.masters[master].peers
    }

    /// A read with the token.
    pub fn get(&self, master: usize, path: &str) -> Result<Response, String> {
        self.send(master, "GET", path, None, "")
    }

    /// A read without the token.
    pub fn bare(&self, master: usize, path: &str) -> Result<Response, String> {
        let text = format!("GET {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
        exchange(self.api(master), &self.token, &text)
    }

    /// A request with the token.
    pub fn send(
        &self,
        master: usize,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> Result<Response, String> {
        send(self.api(master), &self.token, method, path, key, body)
    }

    /// The masters as the first living one that knows them tells.
    pub fn masters(&self) -> Result<Vec<MasterView>, String> {
        let living = (0..self.masters.len()).filter(|n| self.masters[*n].answers());
        let mut seen = "nobody runs".to_owned();
        for master in living {
            match self.get(master, "/v1/masters") {
                Ok(answer) if answer.status == 200 => {
                    return serde_json::from_str(&answer.body).map_err(|e| e.to_string());
                }
                other => seen = format!("{other:?}"),
            }
        }
        Err(seen)
    }

    /// Number of the master that leads, once there is one.
    #[track_caller]
    pub fn leader(&self) -> usize {
        wait_for("a leader", LATE, || {
            let masters = self.masters()?;
            let leader = masters.iter().find(|m| m.leader).ok_or("nobody leads")?;
            let number = self.masters.iter().position(|m| m.name == leader.name);
            number.ok_or_else(|| format!("{leader:?}"))
        })
    }

    /// Waits until every running master has all of the log.
    #[track_caller]
    pub fn wait_applied(&self) {
        wait_for("everybody's log", LATE, || {
            let masters = self.masters()?;
            let first = masters.first().and_then(|m| m.log);
            let same = first.is_some() && masters.iter().all(|m| m.log == first);
            if same {
                Ok(())
            } else {
                Err(format!("{masters:?}"))
            }
        });
    }

    /// Waits until `n` masters vote and have nearly all of the log.
    #[track_caller]
    pub fn wait_voters(&self, n: usize) {
        wait_for("voters with the whole log", LATE, || {
            let masters = self.masters()?;
            let most = masters.iter().filter_map(|m| m.log).max();
            let close = |m: &&MasterView| {
                let behind = m.log.zip(most).map(|(has, most)| most.0 - has.0);
                m.voter && behind.is_some_and(|behind| behind < 200)
            };
            let voters = masters.iter().filter(close).count();
            if voters == n {
                Ok(())
            } else {
                Err(format!("{masters:?}"))
            }
        });
    }
}

impl Master {
    fn answers(&self) -> bool {
        self.daemon.is_some() && !self.paused
    }
}

/// One request over a connection of its own.
pub fn send(
    api: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &str,
) -> Result<Response, String> {
    let key = key.map(|key| format!("Idempotency-Key: {key}\r\n"));
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{}Content-Length: {}\r\n\r\n{body}",
        key.unwrap_or_default(),
        body.len()
    );
    exchange(api, token, &text)
}

/// Encrypted when the token says so.
fn exchange(api: SocketAddr, token: &str, text: &str) -> Result<Response, String> {
    let Some(pin) = Pin::of_token(token) else {
        return http::request(api, text);
    };
    let config = hancock_tls::pinned(pin, hancock_tls::HTTP).unwrap();
    encrypted(api, Arc::new(config), text)
}

/// One request over a TLS connection of its own.
pub fn encrypted(
    api: SocketAddr,
    config: Arc<ClientConfig>,
    text: &str,
) -> Result<Response, String> {
    let tcp = TcpStream::connect_timeout(&api, LATE).map_err(|e| e.to_string())?;
    // The request follows the handshake at once; it must not wait for an acknowledgement of that.
    tcp.set_nodelay(true).map_err(|e| e.to_string())?;
    let name = ServerName::from(api.ip());
    let session = ClientConnection::new(config, name).map_err(|e| e.to_string())?;
    http::over(StreamOwned::new(session, tcp), |tls| &tls.sock, text)
}

/// A small app.
pub fn web(name: &str) -> String {
    let spec = json!({
        "app": name,
        "command": ["/bin/web", "--port", "{{ port.http }}"],
        "replicas": 1,
        "ports": [{"name": "http"}],
        "service": [{"port": "http", "hosts": [format!("{name}.test")]}],
    });
    spec.to_string()
}
