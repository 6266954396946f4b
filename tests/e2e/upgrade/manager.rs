//! A service manager that keeps sockets, as systemd does: over a crash and over an upgrade.

use std::collections::BTreeMap;
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use hancock_testkit::daemon::Daemon;
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::{http, wait_for};
use rustix::cmsg_space;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::balancer::{Alone, Origin, balancer};
use crate::world::SOON;

/// Where kept descriptors are numbered from, out of the way of those a process starts with.
const KEPT: i32 = 300;

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    /// What was said without a descriptor.
    told: Vec<String>,
    kept: BTreeMap<String, Vec<OwnedFd>>,
}

impl Manager {
    fn new(alone: &Alone) -> Self {
        let socket = UnixDatagram::bind(alone.path("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            told: Vec::new(),
            kept: BTreeMap::new(),
        }
    }

    fn hear(&mut self) {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        loop {
            let mut with = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut bytes)];
            let Ok(got) = recvmsg(&self.socket, &mut into, &mut with, RecvFlags::CMSG_CLOEXEC)
            else {
                return;
            };
            let came = with.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(came) => Some(came.collect::<Vec<_>>()),
                _ => None,
            });
            let came: Vec<OwnedFd> = came.flatten().collect();
            let text = String::from_utf8_lossy(&bytes[..got.bytes]).into_owned();
            self.take(&text, came);
        }
    }

    fn take(&mut self, text: &str, came: Vec<OwnedFd>) {
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
        match name {
            Some(name) if text.contains("FDSTOREREMOVE=1") => drop(self.kept.remove(name)),
            Some(name) if text.contains("FDSTORE=1") => {
                let kept = self.kept.entry(name.to_owned()).or_default();
                kept.extend(came.iter().map(|fd| fcntl_dupfd_cloexec(fd, KEPT).unwrap()));
            }
            _ => self.told.extend(text.lines().map(str::to_owned)),
        }
    }

    #[track_caller]
    fn wait(&mut self, what: &str, mut there: impl FnMut(&Self) -> bool) {
        wait_for(what, SOON, || {
            self.hear();
            match there(self) {
                true => Ok(()),
                false => Err(format!("{:?} {:?}", self.told, self.kept)),
            }
        });
    }

    /// Starts the daemon as the manager would: with what is kept from descriptor 3 on.
    fn start(&self, alone: &mut Alone) {
        let plain = balancer(&alone.options(), alone.dir());
        let (mut moves, mut names) = (String::new(), Vec::new());
        for (name, sockets) in &self.kept {
            for socket in sockets {
                moves += &format!("exec {}<&{}; ", 3 + names.len(), socket.as_raw_fd());
                fcntl_setfd(socket, FdFlags::empty()).unwrap();
                names.push(name.clone());
            }
        }
        let mut command = Command::new("bash");
        let script = format!("{moves}export LISTEN_PID=$$; exec \"$@\"");
        command.args(["-c", &script, "manager"]);
        command.arg(plain.get_program()).args(plain.get_args());
        command
            .current_dir(alone.dir())
            .env("HANCOCK_LOG", "info")
            .env("NOTIFY_SOCKET", alone.path("notify"))
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        let mut daemon = Daemon::start(&mut command, &alone.dir().join("log"));
        daemon.wait_line("proxy http://", SOON);
        alone.runs(daemon);
    }
}

#[test]
fn sockets_are_kept_over_a_crash() {
    let mut alone = Alone::at_rest();
    let (origin, port, other) = (quiet_port(), quiet_port(), quiet_port());
    let _origin = Origin::on(origin);
    let mut manager = Manager::new(&alone);
    manager.start(&mut alone);
    manager.wait("a daemon that is ready", |m| {
        m.told.contains(&"READY=1".to_owned())
    });
    alone.put("web.localhost", origin, false);
    for port in [port, other] {
        assert_eq!(alone.put_tcp(port, origin), (0, "OK".to_owned()));
    }
    let names = |m: &Manager| m.kept.keys().cloned().collect::<Vec<_>>();
    let all = ["admin", "http", "stream-admin"].map(str::to_owned);
    let with = |ports: &[u16]| -> Vec<String> {
        let ports = ports.iter().map(|port| format!("tcp-{port}"));
        let mut names: Vec<String> = all.iter().cloned().chain(ports).collect();
        names.sort();
        names
    };
    manager.wait("all sockets", |m| names(m) == with(&[port, other]));
    alone.drop_tcp(other);
    manager.wait("one to be let go", |m| names(m) == with(&[port]));
    let log = alone.path("data/documents/tcp/last-good.log");
    wait_for("the deletion on disk", SOON, || {
        let log = std::fs::read_to_string(&log).unwrap();
        match log.contains("\"doc\":null") {
            true => Ok(()),
            false => Err(log),
        }
    });
    alone.crash();

    // Nobody is there, and nobody is refused.
    let request = b"GET / HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n\r\n";
    let waiting: Vec<TcpStream> = [alone.http, local(port)]
        .iter()
        .flat_map(|address| (0..8).map(move |_| *address))
        .map(|address| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.write_all(request).unwrap();
            stream
        })
        .collect();
    manager.start(&mut alone);
    for stream in waiting {
        let answer = std::io::read_to_string(stream).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with('a'),
            "{answer}"
        );
    }

    // An upgrade says which process is the daemon from then on.
    manager.told.clear();
    alone.upgrade().ok();
    let pid = std::fs::read_to_string(alone.path("data/lock")).unwrap();
    let main = format!("MAINPID={}", pid.trim());
    manager.wait("the new daemon", |m| {
        m.told.contains(&main) && m.told.contains(&"READY=1".to_owned())
    });
    assert_eq!(names(&manager), with(&[port]));
    assert_eq!(
        http::get(alone.http, "web.localhost", "/").unwrap().body,
        "a"
    );
}
