//! `hancock balancer` as it is shipped: what it refuses, its file, and its start when nothing else is there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hancock_testkit::daemon::{Daemon, Leftovers};
use hancock_testkit::http;
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::wait_for;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{BINARY, Ran, SOON, finish};

/// From its start until it serves.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A balancer's addresses and folder; a daemon when it runs.
pub struct Alone {
    daemon: Option<Daemon>,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub stream_admin: SocketAddr,
    _leftovers: Leftovers,
    dir: TempDir,
}

impl Alone {
    pub fn at_rest() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [http, admin, stream_admin] = [(); 3].map(|()| local(quiet_port()));
        Self {
            daemon: None,
            http,
            admin,
            stream_admin,
            _leftovers: Leftovers::of(dir.path()),
            dir,
        }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// SIGKILL.
    pub fn crash(&mut self) {
        self.daemon.take().unwrap().crash();
    }

    /// A daemon that somebody else has started.
    pub fn runs(&mut self, daemon: Daemon) {
        self.daemon = Some(daemon);
    }

    /// `hancock balancer upgrade`.
    pub fn upgrade(&self) -> Ran {
        let mut command = Command::new(BINARY);
        command.args(["balancer", "upgrade", "--data-dir", &self.path("data")]);
        finish(&mut command, self.dir())
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its own options, by name.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        vec![
            ("http", self.http.to_string()),
            ("admin", self.admin.to_string()),
            ("stream-admin", self.stream_admin.to_string()),
            ("tcp-bind", "127.0.0.1".to_owned()),
            ("data-dir", self.path("data")),
        ]
    }

    /// Starts it and waits until it says that it serves.
    pub fn up(&mut self, options: &[(&str, String)]) {
        let mut command = balancer(options, self.dir.path());
        let mut daemon = Daemon::start(&mut command, &self.dir.path().join("log"));
        daemon.wait_line("proxy http://", SOON);
        self.daemon = Some(daemon);
    }

    pub fn put(&self, name: &str, port: u16, checks: bool) {
        put(self.admin, name, port, checks);
    }

    /// A document of the TCP side; gives the reply's code and text.
    pub fn put_tcp(&self, name: u16, port: u16) -> (u32, String) {
        let servers = json!([{"host": "127.0.0.1", "port": port}]);
        let body = json!({"cluster": [{"servers": servers}], "enable": false}).to_string();
        self.framed(&format!("PUT upstream {name}"), &body)
    }

    /// Deletes one.
    pub fn drop_tcp(&self, name: u16) {
        let reply = self.framed(&format!("DELETE upstream {name}"), "");
        assert_eq!(reply, (0, "OK".to_owned()));
    }

    fn framed(&self, line: &str, body: &str) -> (u32, String) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut stream = TcpStream::connect(self.stream_admin).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let line = format!("{line}\n");
        let command = [line.as_bytes(), &length, body.as_bytes()].concat();
        stream.write_all(&command).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut reply).unwrap();
        let code = u32::from_be_bytes(reply[4..8].try_into().unwrap());
        (code, String::from_utf8_lossy(&reply[8..]).into_owned())
    }

    fn status(&self) -> Value {
        let page = http::get(self.admin, "admin", "/status").unwrap();
        serde_json::from_str(&page.body).unwrap()
    }
}

pub fn balancer(options: &[(&str, String)], dir: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("balancer")
        .current_dir(dir)
        .env("HANCOCK_LOG", "info");
    command.args(
        options
            .iter()
            .map(|(name, value)| format!("--{name}={value}")),
    );
    command
}

/// What it says in the one line it ends with.
#[track_caller]
fn refusal(alone: &Alone, options: &[(&str, String)], code: i32) -> String {
    let log = alone.dir.path().join("refusal");
    let mut daemon = Daemon::start(&mut balancer(options, alone.dir.path()), &log);
    let ended = daemon.wait_exit(SOON);
    let told = daemon.output();
    assert_eq!(ended.code(), Some(code), "{options:?}: {told}");
    assert_eq!(told.lines().count(), 1, "{options:?}: {told}");
    told
}

/// Its own options with one of them changed, or one more.
fn with(alone: &Alone, name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut options = alone.options();
    options.retain(|(kept, _)| *kept != name);
    options.push((name, value.to_owned()));
    options
}

/// Routes `name` to one server on this machine, by the admin port of a balancer.
pub fn put(admin: SocketAddr, name: &str, port: u16, checks: bool) {
    let servers = json!([{"host": "127.0.0.1", "port": port}]);
    let body = json!({"servers": servers, "enable": checks}).to_string();
    let request = format!(
        "PUT /upstream/{name} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http::request(admin, &request).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// An origin that answers `a` to everything, until it is dropped.
pub struct Origin(TcpListener);

impl Origin {
    pub fn on(port: u16) -> Self {
        let listener = TcpListener::bind(local(port)).unwrap();
        let accepting = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            for mut stream in accepting.incoming().map_while(Result::ok) {
                let mut request = [0; 4096];
                let _ = std::io::Read::read(&mut stream, &mut request);
                let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na";
                let _ = stream.write_all(answer);
            }
        });
        Self(listener)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Whoever waits in accept is told, and the port is free.
        let _ = nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&self.0),
            nix::sys::socket::Shutdown::Both,
        );
    }
}

#[test]
fn a_taken_address_is_told_with_its_flag() {
    let alone = Alone::at_rest();
    let taken = TcpListener::bind(local(0)).unwrap();
    let address = taken.local_addr().unwrap();
    for flag in ["http", "admin", "stream-admin"] {
        let told = refusal(&alone, &with(&alone, flag, &address.to_string()), 1);
        let named = format!("address in use; choose another with --{flag} ADDR");
        assert!(
            told.contains(&address.to_string()) && told.contains(&named),
            "{told}"
        );
    }
    let port = address.port().to_string();
    let told = refusal(&alone, &with(&alone, "tcp-listen", &port), 1);
    let named = "address in use; choose another with --tcp-listen PORT";
    assert!(
        told.contains(&address.to_string()) && told.contains(named),
        "{told}"
    );
    // One of TEST-NET is nobody's.
    for flag in ["http", "admin", "stream-admin"] {
        let told = refusal(&alone, &with(&alone, flag, "192.0.2.1:80"), 1);
        assert!(
            told.contains("192.0.2.1:80") && told.contains(&format!("--{flag} ADDR")),
            "{told}"
        );
    }
}

#[test]
fn a_port_that_must_not_be_opened_is_told_with_its_flag() {
    let alone = Alone::at_rest();
    for own in [alone.http, alone.admin, alone.stream_admin] {
        let told = refusal(
            &alone,
            &with(&alone, "tcp-listen", &own.port().to_string()),
            1,
        );
        assert!(
            told.contains(&format!("{own}; choose another with --tcp-listen")),
            "{told}"
        );
    }
    let told = refusal(&alone, &with(&alone, "tcp-listen", "22"), 1);
    assert!(
        told.contains("port 22 is never opened") && told.contains("--tcp-listen"),
        "{told}"
    );
}

#[test]
fn values_that_are_none_are_told_with_their_flag() {
    let alone = Alone::at_rest();
    for (flag, value) in [
        ("http", "localhost"),
        ("tcp-bind", "nowhere"),
        ("tcp-listen", "0"),
        ("tcp-listen", "70000"),
        ("tcp-ports", "9-1"),
        ("tcp-ports", "1024"),
        ("threads", "0"),
        ("check-interval", "0s"),
        ("check-interval", "soon"),
        ("access-log-to", "nowhere"),
    ] {
        let told = refusal(&alone, &with(&alone, flag, value), 2);
        assert!(
            told.contains(&format!("--{flag} <")) && told.contains(value),
            "{told}"
        );
    }
}

#[test]
fn files_and_folders_of_no_use_are_told_with_their_flag() {
    let alone = Alone::at_rest();
    let (folder, nothing) = (alone.path("folder"), alone.path("nothing/file"));
    let (empty, strange) = (alone.path("empty"), alone.path("strange.toml"));
    fs::create_dir(&folder).unwrap();
    fs::write(&empty, "\n").unwrap();
    fs::write(&strange, "htpp = \":80\"\n").unwrap();
    for (flag, path, way_out) in [
        ("token-file", &folder, "--token-file"),
        ("token-file", &nothing, "--token-file"),
        ("token-file", &empty, "--token-file"),
        ("access-log", &folder, "--access-log FILE"),
        ("access-log", &nothing, "--access-log FILE"),
        ("data-dir", &empty, "--data-dir DIR"),
        // Root may write anywhere else.
        ("data-dir", &"/proc/1/fdinfo".to_owned(), "--data-dir DIR"),
        ("config", &nothing, "--config"),
        ("config", &strange, "htpp is no option"),
    ] {
        let told = refusal(&alone, &with(&alone, flag, path), 1);
        assert!(
            told.contains(path.as_str()) && told.contains(way_out),
            "{told}"
        );
    }
}

#[test]
fn a_data_directory_in_use_names_who_uses_it() {
    let mut first = Alone::at_rest();
    first.up(&first.options());
    let second = Alone::at_rest();
    let told = refusal(&second, &with(&second, "data-dir", &first.path("data")), 1);
    let pid = first.daemon.as_ref().unwrap().pid().to_string();
    assert!(
        told.contains(&pid) && told.contains("--data-dir DIR"),
        "{told}"
    );
    first.status();
}

#[test]
fn options_do_the_same_on_the_command_line_and_in_the_file() {
    for in_file in [false, true] {
        let mut alone = Alone::at_rest();
        let collector = TcpListener::bind(local(0)).unwrap();
        let (fixed, open) = (quiet_port(), quiet_port());
        let mut options = alone.options();
        fs::write(alone.dir.path().join("token"), "secret\n").unwrap();
        options.extend([
            ("tcp-listen", fixed.to_string()),
            ("tcp-ports", format!("{open}-{open}")),
            ("threads", "3".to_owned()),
            ("check-interval", "100ms".to_owned()),
            ("access-log-to", collector.local_addr().unwrap().to_string()),
            ("access-log", alone.path("access.log")),
            ("token-file", alone.path("token")),
        ]);
        if in_file {
            let line = |(name, value): &(&str, String)| format!("{name} = {value:?}\n");
            let text: String = options.iter().map(line).collect();
            fs::write(alone.dir.path().join("balancer.toml"), text).unwrap();
            options = vec![("config", alone.path("balancer.toml"))];
        }
        alone.up(&options);
        show_their_effects(&alone, collector, fixed, open);
    }
}

fn show_their_effects(alone: &Alone, collector: TcpListener, fixed: u16, open: u16) {
    let origin = quiet_port();
    let _origin = Origin::on(origin);
    alone.put("web.localhost", origin, true);
    assert_eq!(
        http::get(alone.http, "web.localhost", "/seen")
            .unwrap()
            .body,
        "a"
    );
    // The port of --tcp-listen is there; of others only that of --tcp-ports may be opened, both on --tcp-bind.
    TcpStream::connect(local(fixed)).unwrap();
    let (code, told) = alone.put_tcp(quiet_port(), origin);
    let range = format!("--tcp-ports {open}-{open}");
    assert!(code == 2 && told.contains(&range), "{code} {told}");
    assert_eq!(alone.put_tcp(open, origin), (0, "OK".to_owned()));
    let elsewhere = TcpStream::connect(SocketAddr::from(([127, 0, 0, 2], open)));
    assert!(elsewhere.is_err(), "only on the address of --tcp-bind");
    let pid = alone.daemon.as_ref().unwrap().pid();
    assert_eq!(threads(pid, "data-"), 3);
    // Five seconds is the default: three changes of the time would take longer than anybody waits here.
    let checked = || alone.status()["last_check_time"].clone();
    let mut seen = BTreeSet::new();
    wait_for("rounds of checks", Duration::from_secs(8), || {
        seen.insert(checked().to_string());
        if seen.len() > 3 {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
    let line = |text: &str| text.contains("\"/seen\"");
    wait_for("a record in the file", SOON, || {
        let log = fs::read_to_string(alone.dir.path().join("access.log")).unwrap_or_default();
        if line(&log) { Ok(()) } else { Err(log) }
    });
    // Checks of the collector come and go without a word.
    let mut record = String::new();
    while record.is_empty() {
        let (stream, _) = collector.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        BufReader::new(stream).read_line(&mut record).unwrap();
    }
    assert!(line(&record), "{record}");
    assert!(alone.dir.path().join("data/documents").is_dir());
}

/// Names of threads of a process that begin so. What one of them starts bears its name for a moment.
fn threads(pid: i32, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let called = tasks.filter_map(|t| fs::read_to_string(t.path().join("comm")).ok());
    let names: BTreeSet<String> = called.filter(|comm| comm.starts_with(name)).collect();
    names.len()
}

#[test]
fn after_a_crash_it_serves_at_once_though_nothing_else_is_there() {
    let mut alone = Alone::at_rest();
    let (origin, port) = (quiet_port(), quiet_port());
    let mut options = alone.options();
    // A name nobody knows: asking for it must not be waited for either.
    options.push(("access-log-to", "collector.invalid:5140".to_owned()));
    let serving = Origin::on(origin);
    alone.up(&options);
    alone.put("web.localhost", origin, false);
    assert_eq!(alone.put_tcp(port, origin), (0, "OK".to_owned()));
    assert_eq!(
        http::get(alone.http, "web.localhost", "/").unwrap().body,
        "a"
    );
    alone.daemon.as_mut().unwrap().crash();
    drop(serving);

    let began = Instant::now();
    let mut command = balancer(&options, alone.dir.path());
    alone.daemon = Some(Daemon::start(&mut command, &alone.dir.path().join("log")));
    let answer = wait_for("an answer", SOON, || {
        http::get(alone.http, "web.localhost", "/")
    });
    let took = began.elapsed();
    // It knows the name, and whom it would ask.
    let reason = answer.header("x-hancock-reason");
    assert_eq!(
        (answer.status, reason),
        (502, Some("refused")),
        "{answer:?}"
    );
    TcpStream::connect(local(port)).unwrap();
    assert!(took < AT_ONCE, "{took:?}");
    let daemon = alone.daemon.as_mut().unwrap();
    let told = daemon.wait_line("--access-log-to", SOON);
    assert!(
        told.contains("WARN") && told.contains("collector.invalid:5140"),
        "{told}"
    );

    let _again = Origin::on(origin);
    let answer = http::get(alone.http, "web.localhost", "/").unwrap();
    assert_eq!((answer.status, &*answer.body), (200, "a"));
}
