//! One `hancock balancer` with ports and a data directory of its own, and what stands behind it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use hancock_testkit::daemon::Leftovers;
use hancock_testkit::etcd::Etcd;
use hancock_testkit::http::{self, Response};
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::{Daemon, Load, load, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::world::{BINARY, SOON};

/// A balancer that follows a registry.
pub struct Edge {
    daemon: Option<Daemon>,
    _leftovers: Leftovers,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    framed: SocketAddr,
    url: String,
    dir: TempDir,
}

impl Edge {
    /// A running one.
    pub fn start(url: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [http, admin, framed] = std::array::from_fn(|_| local(quiet_port()));
        let mut edge = Self {
            daemon: None,
            _leftovers: Leftovers::of(dir.path()),
            http,
            admin,
            framed,
            url: url.to_owned(),
            dir,
        };
        edge.spawn();
        edge
    }

    /// Starts it again on what it has.
    pub fn spawn(&mut self) {
        let mut command = Command::new(BINARY);
        command.arg("balancer");
        for (flag, address) in [
            ("--http", self.http),
            ("--admin", self.admin),
            ("--stream-admin", self.framed),
        ] {
            command.args([flag, &address.to_string()]);
        }
        command.args(["--registry", &self.url, "--tcp-bind", "127.0.0.1"]);
        command.arg("--data-dir").arg(self.dir.path().join("data"));
        self.daemon = Some(Daemon::start(&mut command, &self.dir.path().join("log")));
    }

    /// SIGKILL.
    pub fn crash(&mut self) {
        self.daemon.take().unwrap().crash();
    }

    /// SIGTERM, and the end it leads to.
    pub fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.daemon.take().unwrap().wait_exit(SOON).success());
    }

    pub fn signal(&self, signal: Signal) {
        self.daemon.as_ref().unwrap().signal(signal);
    }

    /// What is done meanwhile happens, and is compacted, while the balancer has no connection and cannot make one.
    pub fn while_behind(&self, etcd: &mut Etcd, done: impl FnOnce(&Etcd)) {
        etcd.crash_all();
        self.wait("a broken connection", |r| {
            (r["connected"] == false).then_some(())
        });
        self.signal(Signal::SIGSTOP);
        etcd.restart_all();
        done(etcd);
        etcd.compact();
        self.signal(Signal::SIGCONT);
    }

    /// Etcd breaks every connection, and comes back.
    pub fn crash_of(&self, etcd: &mut Etcd) {
        etcd.crash_all();
        etcd.restart_all();
    }

    /// One request of an end user.
    pub fn get(&self, host: &str) -> Result<Response, String> {
        http::get(self.http, host, "/")
    }

    #[track_caller]
    pub fn wait_answer(&self, host: &str, word: &str) {
        wait_for(&format!("{host} answering {word}"), SOON, || {
            let answer = self.get(host)?;
            match answer.first_word() == word {
                true => Ok(()),
                false => Err(format!("{answer:?}")),
            }
        });
    }

    pub fn load(&self, host: &str) -> load::Running {
        let load = Load::to(self.http, host).start();
        load.wait_until("load to have begun", SOON, |t| t.ended > 20);
        load
    }

    pub fn put(&self, name: &str, document: &str) -> Response {
        self.write("PUT", name, document)
    }

    pub fn delete(&self, name: &str) -> Response {
        self.write("DELETE", name, "")
    }

    fn write(&self, method: &str, name: &str, body: &str) -> Response {
        let length = body.len();
        let text = format!(
            "{method} /upstream/{name} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        http::request(self.admin, &text).unwrap()
    }

    /// The status document.
    pub fn status(&self) -> Value {
        wait_for("the status", SOON, || {
            let answer = http::get(self.admin, "admin", "/status")?;
            serde_json::from_str(&answer.body).map_err(|e| e.to_string())
        })
    }

    /// Every document it has.
    pub fn documents(&self) -> Value {
        let answer = http::get(self.admin, "admin", "/upstreams").unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }

    /// How the registry stands.
    pub fn registry(&self) -> Value {
        self.status()["hancock"]["registry"].clone()
    }

    /// Waits until the registry stands as `wanted`.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        wait_for(what, SOON, || {
            let standing = self.registry();
            wanted(&standing).ok_or(standing)
        })
    }

    /// A text its data directory keeps.
    pub fn kept(&self, name: &str) -> String {
        let path = self.dir.path().join("data").join(name);
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

/// What a balancer that must not start says, in its one line.
pub fn refused(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new(BINARY);
    command.arg("balancer").arg("--data-dir").arg(dir);
    for flag in ["--http", "--admin", "--stream-admin"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    let ended = command.args(args).output().unwrap();
    assert!(!ended.status.success());
    let told = String::from_utf8_lossy(&ended.stderr);
    told.lines().next().unwrap_or_default().to_owned()
}

/// The demo app by itself.
pub struct Origin {
    port: u16,
    _daemon: Daemon,
    _dir: TempDir,
}

impl Origin {
    /// One whose answers begin with `word`.
    pub fn start(word: &str) -> Self {
        let (port, dir) = (quiet_port(), tempfile::tempdir().unwrap());
        let mut command = Command::new(BINARY);
        command.args([
            "demo-app",
            "--app-version",
            word,
            "--port",
            &port.to_string(),
        ]);
        let daemon = Daemon::start(&mut command, &dir.path().join("log"));
        wait_for("the origin", SOON, || http::get(local(port), "any", "/"));
        Self {
            port,
            _daemon: daemon,
            _dir: dir,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A document that leads to it, as a Slardar's tools write it.
    pub fn document(&self) -> String {
        format!(
            r#"{{"enable":false,"servers":[{{"host":"127.0.0.1","port":{}}}]}}"#,
            self.port
        )
    }
}
