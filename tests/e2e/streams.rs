//! TCP services: sessions outlive versions, and no connection is refused while they change.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use hancock_proto::api::{AppSummary, DeploymentView};
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::proc::Process;
use hancock_testkit::{http, wait_for};

use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::world::{SOON, World};

/// The demo app with its echo on a port of the node.
pub fn echo(version: &str, listen: u16, stop: &str) -> Spec {
    let mut spec = Spec::web(Runtime::Process).version(version).more(&format!(
        "ports: [{{name: http}}, {{name: echo}}]\n\
         service: [{{port: http, hosts: [web.localhost]}}, {{port: echo, protocol: tcp, listen: {listen}}}]\n\
         stop: {stop}"
    ));
    spec.environment
        .push(("DEMO_ECHO_GREETS".to_owned(), "1".to_owned()));
    spec
}

/// One client of the echo.
pub struct Session {
    stream: BufReader<TcpStream>,
    /// First word of the greeting: the version that answers.
    pub version: String,
}

impl Session {
    pub fn open(address: SocketAddr) -> Result<Self, String> {
        let told = |e: std::io::Error| e.to_string();
        let stream = TcpStream::connect_timeout(&address, SOON).map_err(told)?;
        stream.set_read_timeout(Some(SOON)).map_err(told)?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).map_err(told)?;
        match line.split_whitespace().next() {
            Some(version) => Ok(Self {
                version: version.to_owned(),
                stream,
            }),
            None => Err("ended before it greeted".to_owned()),
        }
    }

    /// Says something and hears it again.
    #[track_caller]
    pub fn talk(&mut self, word: &str) {
        let line = format!("{word}\n");
        self.stream.get_mut().write_all(line.as_bytes()).unwrap();
        let mut back = String::new();
        self.stream.read_line(&mut back).unwrap();
        assert_eq!(back, line, "the session was cut");
    }
}

/// Connects again and again; every one must be greeted.
struct Callers {
    stop: Arc<AtomicBool>,
    greeted: Arc<AtomicU64>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Callers {
    fn start(address: SocketAddr) -> Self {
        let (stop, greeted) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counted) = (stop.clone(), greeted.clone());
        let thread = std::thread::spawn(move || {
            let mut failed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                match Session::open(address) {
                    Ok(_) => drop(counted.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => failed.push(error),
                }
            }
            failed
        });
        Self {
            stop,
            greeted,
            thread: Some(thread),
        }
    }

    #[track_caller]
    fn wait(&self, more: u64) {
        let wanted = self.greeted.load(Ordering::Relaxed) + more;
        wait_for("callers to be greeted", SOON, || {
            let now = self.greeted.load(Ordering::Relaxed);
            if now >= wanted { Ok(()) } else { Err(now) }
        });
    }

    fn finish(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Waits until the port leads to a version that greets.
#[track_caller]
pub fn wait_greeting(address: SocketAddr, version: &str) {
    wait_for(
        &format!("a greeting of {version}"),
        SOON,
        || match Session::open(address)?.version {
            greeted if greeted == version => Ok(()),
            other => Err(other),
        },
    );
}

fn newest(world: &World) -> Result<DeploymentView, String> {
    world.detail("web")?.deployment.ok_or("none".to_owned())
}

#[test]
fn tcp_sessions_outlive_the_version_they_began_on() {
    let world = World::start(Runtime::Process);
    let port = quiet_port();
    let address = local(port);
    let stop = "{drain_timeout: 1s, grace_period: 5s}";
    world.apply(&echo("v1", port, stop));
    wait_greeting(address, "v1");
    let apps: Vec<AppSummary> = world.ask("/v1/apps").unwrap();
    assert_eq!(apps[0].listens, [port]);
    assert!(
        world
            .run(&["app", "list"])
            .ok()
            .contains(&format!(":{port}"))
    );

    let mut sessions: Vec<_> = (0..10).map(|_| Session::open(address).unwrap()).collect();
    let old = world.processes("web", 3);
    let callers = Callers::start(address);
    callers.wait(20);
    world.apply(&echo("v2", port, stop));
    callers.wait(20);
    for session in &mut sessions {
        assert_eq!(session.version, "v1");
        session.talk("still here");
    }
    let failed = callers.finish();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(Session::open(address).unwrap().version, "v2");
    let deployment = newest(&world).unwrap();
    assert!(
        deployment.ok && deployment.reason.contains("lingering"),
        "{deployment:#?}"
    );

    // With the last session the old instances go.
    assert!(old.iter().all(|(_, process)| process.is_alive()));
    drop(sessions);
    wait_ended(&old);

    // The port goes with the service.
    world.run(&["app", "delete", "web", "--wait"]).ok();
    wait_for("a closed port", SOON, || {
        match TcpStream::connect(address) {
            Err(_) => Ok(()),
            Ok(_) => Err("still open"),
        }
    });
}

fn wait_ended(old: &[(String, Process)]) {
    wait_for("the end of the old instances", SOON, || {
        match old.iter().filter(|(_, p)| p.is_alive()).count() {
            0 => Ok(()),
            left => Err(left),
        }
    });
}

/// Sessions that never end are ended by the balancer, and only then the old instances are stopped.
#[test]
fn tcp_sessions_end_when_their_time_is_over() {
    let world = World::start(Runtime::Process);
    let port = quiet_port();
    let stop = "{drain_timeout: 500ms, session_drain_timeout: 4s, grace_period: 5s}";
    world.apply(&echo("v1", port, stop));
    wait_greeting(local(port), "v1");
    let mut session = Session::open(local(port)).unwrap();
    session.talk("before");
    let old = world.processes("web", 3);
    world.apply(&echo("v2", port, stop));
    let mut rest = String::new();
    session.stream.read_line(&mut rest).unwrap();
    assert!(rest.is_empty(), "a plain end, not {rest:?}");
    drop(session);
    let metrics = http::get(world.admin, "admin", "/metrics").unwrap().body;
    let expired = format!("hancock_tcp_expired_total{{port=\"{port}\"}} 1");
    assert!(metrics.contains(&expired), "not by the balancer: {metrics}");
    wait_ended(&old);
}

#[test]
fn a_port_has_one_owner() {
    let world = World::start(Runtime::Process);
    let port = quiet_port();
    let stop = "{drain_timeout: 1s, grace_period: 5s}";
    world.apply(&echo("v1", port, stop));
    let mut second = echo("v1", port, stop).app("other").replicas(1);
    second.more = second.more.replace("web.localhost", "other.localhost");
    let refused = world.try_apply(&second).fails(4);
    assert!(
        refused.contains(&format!("listen port {port} belongs to app web")),
        "{refused}"
    );

    // A port that is this process's own opens nowhere; the deployment fails and says so.
    let api = world.api.port();
    second.more = second.more.replace(&port.to_string(), &api.to_string());
    second.version = "v2".to_owned();
    let failed = world.try_apply(&second).fails(1);
    assert!(failed.contains("this process's own"), "{failed}");
    wait_greeting(local(port), "v1");
}

#[test]
fn a_port_in_use_fails_the_deployment_that_wants_it() {
    let world = World::start(Runtime::Process);
    let taken = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let stop = "{drain_timeout: 1s, grace_period: 5s}";
    let spec = echo("v1", port, stop).more("update: {accept_timeout: 1s}");
    let failed = world.try_apply(&spec).fails(1);
    assert!(failed.contains("cannot listen on"), "{failed}");
    drop(taken);
    let again = echo("v2", port, stop);
    world.apply(&again);
    wait_greeting(local(port), "v2");
}
