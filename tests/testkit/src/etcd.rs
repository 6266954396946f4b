//! Etcds for one test, as single members or clusters, and what an operator or another writer does to them: over their own HTTP gateway, so
//! that no client under test tests itself.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certs::Authority;
use crate::daemon::{Daemon, Leftovers};
use crate::http;
use crate::port::{local, quiet_port};
use crate::wait::wait_for;

/// Time a cluster has to answer after its start.
const START: Duration = Duration::from_secs(30);

/// A cluster of one member or more. Ended and removed on drop.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    _leftovers: Leftovers,
    /// Its certificates.
    files: Option<TempDir>,
    dir: TempDir,
}

#[derive(Debug)]
struct Member {
    client: SocketAddr,
    daemon: Option<Daemon>,
    stopped: AtomicBool,
    command: Command,
    log: std::path::PathBuf,
    data: std::path::PathBuf,
}

impl Etcd {
    /// One member with an empty store.
    pub fn start() -> Self {
        Self::cluster(1)
    }

    /// The same with further command line `options`, like `--enable-v2` for the old API.
    pub fn with(options: &[&str]) -> Self {
        Self::of(1, options)
    }

    /// So many members with an empty store.
    ///
    /// # Panics
    /// When they do not answer in time.
    pub fn cluster(count: usize) -> Self {
        Self::of(count, &[])
    }

    /// One member that clients with a certificate of `authority` reach by TLS at the address given as well, under 127.0.0.1.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn secured(authority: &Authority) -> (Self, SocketAddr) {
        let (files, secure) = (tempfile::tempdir().unwrap(), local(quiet_port()));
        let own = authority.certify(&["127.0.0.1"]);
        let write = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (cert, key) = (write("cert", &own.cert), write("key", &own.key));
        let ca = write("ca", &authority.pem());
        let plain = local(quiet_port());
        let both = format!("http://{plain},https://{secure}");
        let options = [
            "--listen-client-urls",
            &both,
            "--cert-file",
            &cert,
            "--key-file",
            &key,
            "--trusted-ca-file",
            &ca,
            "--client-cert-auth",
        ];
        let mut etcd = Self::prepared(1, &options);
        etcd.members[0].client = plain;
        etcd.files = Some(files);
        (etcd.started(), secure)
    }

    fn of(count: usize, options: &[&str]) -> Self {
        Self::prepared(count, options).started()
    }

    fn prepared(count: usize, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports: Vec<(SocketAddr, SocketAddr)> = (0..count)
            .map(|_| (local(quiet_port()), local(quiet_port())))
            .collect();
        let peers: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(n, (_, peer))| format!("m{n}=http://{peer}"))
            .collect();
        let members = ports.iter().enumerate().map(|(n, (client, peer))| {
            let data = dir.path().join(format!("m{n}"));
            let name = format!("m{n}");
            let mut command = command(&name, &data, *client, *peer, &peers.join(","));
            command.args(options);
            Member {
                client: *client,
                daemon: None,
                stopped: AtomicBool::new(false),
                command,
                log: dir.path().join(format!("m{n}.log")),
                data,
            }
        });
        Self {
            members: members.collect(),
            _leftovers: Leftovers::of(dir.path()),
            files: None,
            dir,
        }
    }

    fn started(mut self) -> Self {
        self.members.iter_mut().for_each(Member::start);
        self.wait_ready();
        self
    }

    fn wait_ready(&self) {
        for n in 0..self.members.len() {
            wait_for("an etcd that answers", START, || {
                self.ask(n, "kv/range", &json!({"key": "AA=="}))
            });
        }
    }

    /// A folder that goes with it.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// How many members there are.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Where its members take clients.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    /// `etcd://HOST:PORT,…/prefix`.
    pub fn url(&self, prefix: &str) -> String {
        let members: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        format!("etcd://{}/{prefix}", members.join(","))
    }

    /// The process of a member.
    pub fn pid(&self, member: usize) -> Option<i32> {
        self.members[member].daemon.as_ref().map(Daemon::pid)
    }

    /// A signal to a running member.
    pub fn signal(&self, member: usize, signal: Signal) {
        let Member {
            daemon, stopped, ..
        } = &self.members[member];
        if let Some(daemon) = daemon {
            daemon.signal(signal);
            stopped.store(signal == Signal::SIGSTOP, Ordering::Relaxed);
        }
    }

    /// SIGKILL to a member; its data stays.
    pub fn crash(&mut self, member: usize) {
        if let Some(mut daemon) = self.members[member].daemon.take() {
            daemon.crash();
            self.members[member].stopped.store(false, Ordering::Relaxed);
        }
    }

    /// Starts a member again on what it has.
    pub fn restart(&mut self, member: usize) {
        self.members[member].start();
    }

    /// SIGKILL to every member.
    pub fn crash_all(&mut self) {
        (0..self.count()).for_each(|member| self.crash(member));
    }

    /// Starts every member and waits until all answer.
    pub fn restart_all(&mut self) {
        self.members.iter_mut().for_each(Member::start);
        self.wait_ready();
    }

    /// Every member loses everything, and comes back.
    pub fn wipe(&mut self) {
        self.crash_all();
        for member in &self.members {
            fs::remove_dir_all(&member.data).unwrap();
        }
        self.restart_all();
    }

    /// Keeps a copy of what a crashed single member has on disk.
    pub fn copy(&self, name: &str) {
        copy(&self.members[0].data, &self.dir.path().join(name));
    }

    /// A crashed single member gets back what it had when the copy was made.
    pub fn set_back(&self, name: &str) {
        fs::remove_dir_all(&self.members[0].data).unwrap();
        copy(&self.dir.path().join(name), &self.members[0].data);
    }

    /// Asks a member's gateway.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn ask(&self, member: usize, method: &str, body: &Value) -> Result<Value, String> {
        self.ask_with(member, method, body, "")
    }

    /// As [`Etcd::ask`], with further header lines.
    fn ask_with(
        &self,
        member: usize,
        method: &str,
        body: &Value,
        headers: &str,
    ) -> Result<Value, String> {
        let (address, body) = (self.members[member].client, body.to_string());
        let answer = http::request(
            address,
            &format!(
                "POST /v3/{method} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )?;
        match answer.status {
            200 => serde_json::from_str(&answer.body).map_err(|e| e.to_string()),
            status => Err(format!("{method}: {status} {}", answer.body)),
        }
    }

    /// Asks the first member that answers.
    ///
    /// # Panics
    /// When none does in time.
    #[track_caller]
    pub fn call(&self, method: &str, body: &Value) -> Value {
        wait_for(method, START, || self.ask_any(method, body))
    }

    /// Writes a key, as any other program might.
    #[track_caller]
    pub fn put(&self, key: &str, value: &str) {
        self.call(
            "kv/put",
            &json!({"key": encoded(key), "value": encoded(value)}),
        );
    }

    /// Deletes a key.
    #[track_caller]
    pub fn delete(&self, key: &str) {
        self.call("kv/deleterange", &json!({"key": encoded(key)}));
    }

    /// The value of a key.
    #[track_caller]
    pub fn get(&self, key: &str) -> Option<String> {
        value(&self.call("kv/range", &json!({"key": encoded(key)})))
    }

    /// The value of a key of the first member, once it is locked.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn get_as(&self, user: &str, password: &str, key: &str) -> Result<Option<String>, String> {
        let who = json!({"name": user, "password": password});
        let token = self.ask(0, "auth/authenticate", &who)?;
        let token = token["token"].as_str().unwrap_or_default();
        let header = format!("Authorization: {token}\r\n");
        let found = self.ask_with(0, "kv/range", &json!({"key": encoded(key)}), &header)?;
        Ok(value(&found))
    }

    /// The store's revision.
    #[track_caller]
    pub fn revision(&self) -> u64 {
        let found = self.call("kv/range", &json!({"key": encoded("x")}));
        found["header"]["revision"]
            .as_str()
            .and_then(|r| r.parse().ok())
            .unwrap()
    }

    /// Forgets everything before now.
    #[track_caller]
    pub fn compact(&self) {
        let revision = self.revision().to_string();
        let compacted = wait_for("a compaction", START, || {
            match self.ask_any("kv/compaction", &json!({"revision": revision})) {
                Err(told) if !told.contains("compacted") => Err(told),
                done => Ok(done),
            }
        });
        drop(compacted);
    }

    /// Asks members that run, until one answers.
    fn ask_any(&self, method: &str, body: &Value) -> Result<Value, String> {
        let mut told = Err("no member runs".to_owned());
        for (at, member) in self.members.iter().enumerate() {
            if told.is_err() && member.daemon.is_some() && !member.stopped.load(Ordering::Relaxed) {
                told = self.ask(at, method, body);
            }
        }
        told
    }

    /// From now on nobody gets in without being `user`, who may do everything below `prefix`; `root` has the same password.
    #[track_caller]
    pub fn lock(&self, user: &str, password: &str, prefix: &str) {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().unwrap() += 1;
        let permission = json!({"permType": "READWRITE", "key": encoded(prefix), "range_end": STANDARD.encode(end)});
        for (method, body) in [
            ("auth/role/add", json!({"name": "writer"})),
            (
                "auth/role/grant",
                json!({"name": "writer", "perm": permission}),
            ),
            ("auth/user/add", json!({"name": user, "password": password})),
            ("auth/user/grant", json!({"user": user, "role": "writer"})),
            ("auth/role/add", json!({"name": "root"})),
            (
                "auth/user/add",
                json!({"name": "root", "password": password}),
            ),
            ("auth/user/grant", json!({"user": "root", "role": "root"})),
            ("auth/enable", json!({})),
        ] {
            self.call(method, &body);
        }
    }
}

impl Member {
    fn start(&mut self) {
        if self.daemon.is_none() {
            self.daemon = Some(Daemon::start(&mut self.command, &self.log));
        }
    }
}

fn command(
    name: &str,
    data: &std::path::Path,
    client: SocketAddr,
    peer: SocketAddr,
    cluster: &str,
) -> Command {
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    let mut command = Command::new("etcd");
    command.args(["--name", name]).arg("--data-dir").arg(data);
    for (flag, value) in [
        ("--listen-client-urls", client.as_str()),
        ("--advertise-client-urls", &client),
        ("--listen-peer-urls", &peer),
        ("--initial-advertise-peer-urls", &peer),
        ("--initial-cluster", cluster),
        // A cluster of a test shares two cores with everything else.
        ("--heartbeat-interval", "100"),
        ("--election-timeout", "1000"),
    ] {
        command.args([flag, value]);
    }
    command
}

/// The first value an answer holds.
fn value(found: &Value) -> Option<String> {
    let value = found["kvs"][0]["value"].as_str()?;
    Some(String::from_utf8(STANDARD.decode(value).unwrap()).unwrap())
}

fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::missing;
    use crate::skip::{skip, test_name};

    #[test]
    fn keys_are_written_lost_and_set_back() {
        if let Some(reason) = missing("etcd") {
            return skip(&test_name(), &reason);
        }
        let mut etcd = Etcd::start();
        etcd.put("a", "1");
        etcd.crash(0);
        etcd.copy("then");
        etcd.restart_all();
        etcd.put("a", "2");
        etcd.compact();
        assert_eq!((etcd.get("a").as_deref(), etcd.revision()), (Some("2"), 3));
        etcd.crash(0);
        etcd.set_back("then");
        etcd.restart_all();
        assert_eq!((etcd.get("a").as_deref(), etcd.revision()), (Some("1"), 2));
        etcd.wipe();
        assert_eq!((etcd.get("a"), etcd.revision()), (None, 1));
    }

    #[test]
    fn it_answers_and_comes_back() {
        if let Some(reason) = missing("etcd") {
            return skip(&test_name(), &reason);
        }
        let mut etcd = Etcd::with(&["--enable-v2"]);
        let asked = |etcd: &Etcd, path: &str| http::get(etcd.addresses()[0], "etcd", path);
        assert_eq!(asked(&etcd, "/version").map(|r| r.status), Ok(200));
        assert_eq!(asked(&etcd, "/v2/keys/").map(|r| r.status), Ok(200));
        etcd.crash(0);
        assert!(asked(&etcd, "/version").is_err());
        etcd.restart(0);
        wait_for("etcd again", START, || asked(&etcd, "/version"));
    }
}
