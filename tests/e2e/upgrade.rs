//! A daemon is upgraded while it serves: another process takes over its sockets, and nobody outside notices.

mod agents;
mod broken;
mod manager;
mod sessions;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use hancock_testkit::daemon::Daemon;
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::proc::{self, Process};
use hancock_testkit::{Load, http, skip, wait_for};

use crate::balancer::Alone;
use crate::world::{BINARY, Ran, SOON, finish};
use sessions::Callers;

/// Former processes that may still be ending when another upgrade begins.
const FORMERS: usize = 2;

/// A balancer in front of one demo app: over HTTP as `web.localhost`, over TCP on many ports. Fields are dropped from the top.
pub struct Ports {
    _app: Daemon,
    pub ports: Vec<u16>,
    pub alone: Alone,
}

impl Ports {
    pub fn serving(count: usize) -> Self {
        let mut alone = Alone::at_rest();
        let (port, echo) = (quiet_port(), quiet_port());
        let app = demo(&alone, port, echo);
        alone.up(&alone.options());
        alone.put("web.localhost", port, false);
        let ports: Vec<u16> = (0..count).map(|_| quiet_port()).collect();
        for port in &ports {
            assert_eq!(alone.put_tcp(*port, echo), (0, "OK".to_owned()));
        }
        Self {
            alone,
            ports,
            _app: app,
        }
    }

    /// `hancock balancer upgrade` with more options.
    pub fn try_upgrade(&self, more: &[&str]) -> Ran {
        let mut command = Command::new(BINARY);
        let data = self.alone.path("data");
        command.args(["balancer", "upgrade", "--data-dir", &data]);
        finish(command.args(more), self.alone.dir())
    }

    /// The same, which must succeed; gives the process that serves now.
    #[track_caller]
    pub fn upgrade(&self) -> Process {
        let before = self.serves();
        self.try_upgrade(&[]).ok();
        let now = self.serves();
        assert_ne!(now, before);
        now
    }

    /// The process that says that it holds the data directory.
    pub fn serves(&self) -> Process {
        let pid = fs::read_to_string(self.alone.path("data/lock")).unwrap();
        Process::find(pid.trim().parse().unwrap()).unwrap()
    }

    /// All processes of the balancer.
    pub fn processes(&self) -> Vec<Process> {
        let is_one = |p: &Process| {
            let words = fs::read(format!("/proc/{}/cmdline", p.pid)).unwrap_or_default();
            words.split(|b| *b == 0).nth(1) == Some(b"balancer")
        };
        let all = proc::belonging_to(self.alone.dir()).into_iter();
        all.filter(is_one).collect()
    }

    /// Waits until no more than so many former processes are left.
    #[track_caller]
    pub fn wait_formers(&self, most: usize) {
        wait_for("the ends of former processes", SOON, || {
            match self.processes().len() {
                there if there <= most + 1 => Ok(()),
                there => Err(there),
            }
        });
    }
}

fn demo(alone: &Alone, port: u16, echo: u16) -> Daemon {
    let mut command = Command::new(BINARY);
    let (port, echo) = (port.to_string(), echo.to_string());
    command
        .args(["demo-app", "--port", &port, "--echo-port", &echo])
        .args(["--app-version", "demo"])
        .current_dir(alone.dir());
    let app = Daemon::start(&mut command, &alone.dir().join("app.log"));
    let address = local(port.parse().unwrap());
    wait_for("the demo app", SOON, || http::get(address, "demo", "/"));
    app
}

/// With `HANCOCK_LONG=1` as large as promised: 2,000 ports, 20 upgrades.
#[test]
fn nobody_is_refused_or_cut_off() {
    let (ports, upgrades) = (skip::rounds(200, 2_000), skip::rounds(3, 20));
    let world = Ports::serving(ports);
    let load = Load::to(world.alone.http, "web.localhost").start();
    let callers = Callers::start(&world.ports);
    callers.wait(50);
    let mut slowest = Duration::ZERO;
    for _ in 0..upgrades {
        world.wait_formers(FORMERS);
        let began = Instant::now();
        callers.upgraded();
        let now = world.upgrade();
        callers.upgraded();
        slowest = slowest.max(began.elapsed());
        // Everything listens there, and is served from there.
        assert_eq!(proc::listener(world.ports[0]), Some(now));
        callers.wait(50);
    }
    let (tally, told) = (load.stop(), callers.finish());
    println!(
        "{ports} ports, {upgrades} upgrades, the slowest {slowest:.2?}\n  HTTP: {tally}\n  TCP: {told}"
    );
    tally.assert_none_failed();
    assert!(tally.fresh > 100 && tally.kept > 100, "{tally}");
    assert!(told.failures.is_empty(), "{told}");
    assert!(told.outlived > 10, "sessions over an upgrade: {told}");
    world.wait_formers(0);
}
