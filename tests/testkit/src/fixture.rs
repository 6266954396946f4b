//! Real servers from Debian, started for one test on ports from the OS: etcd, an image registry, MariaDB and Redis.

mod databases;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::daemon::{Daemon, Leftovers};
use crate::port::local;
use crate::wait::wait_for;

pub use databases::{mariadb, redis};

/// Time a server has to answer after its start.
const START: Duration = Duration::from_secs(30);

/// Why `program` cannot be used here; None: it is installed.
pub fn missing(program: &str) -> Option<String> {
    let found = Command::new(program).arg("--version").output();
    found
        .err()
        .map(|error| format!("cannot run {program}: {error}"))
}

/// A server with a folder of its own, ended and removed on drop.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    daemon: Daemon,
    command: Command,
    _leftovers: Leftovers,
    dir: TempDir,
}

impl Server {
    fn start(mut command: Command, address: SocketAddr, dir: TempDir) -> Self {
        let daemon = Daemon::start(&mut command, &dir.path().join("log"));
        let leftovers = Leftovers::of(dir.path());
        let server = Self {
            address,
            daemon,
            command,
            _leftovers: leftovers,
            dir,
        };
        server.wait_ready();
        server
    }

    fn wait_ready(&self) {
        wait_for("a connection to the server", START, || {
            TcpStream::connect(self.address)
                .map(drop)
                .map_err(|e| format!("{e}; {}", self.daemon.told()))
        });
    }

    /// SIGKILL, as a crash would; its data stays.
    pub fn crash(&mut self) {
        self.daemon.crash();
    }

    /// Sends `signal` to it: SIGSTOP leaves it listening and silent, until SIGCONT.
    pub fn signal(&self, signal: Signal) {
        self.daemon.signal(signal);
    }

    /// Starts it again on the same data and port.
    pub fn restart(&mut self) {
        self.daemon = Daemon::start(&mut self.command, &self.dir.path().join("log"));
        self.wait_ready();
    }
}

/// One empty image registry; images are `{address}/name:tag`.
///
/// # Panics
/// When it cannot be started.
pub fn image_registry() -> Server {
    image_registry_with(tempfile::tempdir().unwrap(), "")
}

/// The same for nobody but [`LOGIN`].
///
/// # Panics
/// When it cannot be started.
pub fn locked_image_registry() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    fs::write(&users, HASHED).unwrap();
    let auth = format!(
        "auth: {{htpasswd: {{realm: images, path: {}}}}}\n",
        users.display()
    );
    image_registry_with(dir, &auth)
}

/// User and password of a locked registry of images.
pub const LOGIN: (&str, &str) = ("bob", "s:ecret");

/// The same as the registry stores it: bcrypt of little work.
const HASHED: &str = "bob:$2b$05$abcdefghijklmnopqrstuuNYle8V2./7BGAiMUVUlBPNgz2/uFiE.\n";

fn image_registry_with(dir: TempDir, more: &str) -> Server {
    let address = local(crate::free_port());
    let config = dir.path().join("config.yml");
    let store = dir.path().join("store");
    let text = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: \"{address}\"}}\n{more}",
        store.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config);
    Server::start(command, address, dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use crate::skip::{skip, test_name};

    #[test]
    fn an_image_registry_answers() {
        if let Some(reason) = missing("docker-registry") {
            return skip(&test_name(), &reason);
        }
        let registry = image_registry();
        wait_for("the registry", START, || {
            let answer = http::get(registry.address, "registry", "/v2/")?;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        });
    }
}
