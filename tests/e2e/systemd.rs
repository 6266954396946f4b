//! The shipped units under the real systemd: whatever it does to a daemon, instances run on and nobody is refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use hancock_testkit::load::Cause;
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::systemd::{self, Systemd};
use hancock_testkit::{Load, Tally, skip, wait_for};

use crate::agents::node::{PORTS, quiet_range};
use crate::agents::{lives, wait_nodes, wait_serving};
use crate::balancer::{Origin, put};
use crate::masters::cluster::{Cluster, LATE};
use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::world::BINARY;

/// Where a package puts the program.
const PROGRAM: &str = "/usr/bin/hancock";

/// The shipped units.
const UNITS: [&str; 3] = [
    "hancock-agent.service",
    "hancock-balancer.service",
    "hancock-master.service",
];

fn packaged(unit: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("packaging/systemd").join(unit)
}

/// A machine on which one unit was installed, with its configuration.
struct Machine {
    systemd: Systemd,
    unit: &'static str,
    config: &'static str,
    http: SocketAddr,
}

impl Machine {
    /// None: there can be none here.
    fn with(
        unit: &'static str,
        config: &'static str,
        text: &str,
        http: SocketAddr,
    ) -> Option<Self> {
        if let Some(why) = systemd::missing() {
            skip::skip(&skip::test_name(), &why);
            return None;
        }
        let shipped = std::fs::read_to_string(packaged(unit)).unwrap();
        let installed = format!("/etc/systemd/system/{unit}");
        let files = [(&*installed, &*shipped), (config, text)];
        let systemd = Systemd::start(Path::new(BINARY), PROGRAM, &files);
        Some(Self {
            systemd,
            unit,
            config,
            http,
        })
    }

    /// `systemctl` with a word about the unit, which must succeed.
    #[track_caller]
    fn ctl(&self, word: &str) {
        self.systemd.ctl(&[word, self.unit]);
    }

    /// The process that systemd takes for the daemon; the unit must be active.
    #[track_caller]
    fn main(&self) -> String {
        assert_eq!(self.systemd.property(self.unit, "ActiveState"), "active");
        self.systemd.property(self.unit, "MainPID")
    }

    /// A reload that succeeds: another process is the daemon.
    #[track_caller]
    fn reload(&self) {
        let before = self.main();
        self.ctl("reload");
        assert_ne!(self.main(), before);
    }

    /// A reload with a configuration nobody can start with fails, and nothing has changed.
    #[track_caller]
    fn reload_with_nonsense(&self) {
        let (before, good) = (self.main(), std::fs::read(self.systemd.path(self.config)));
        self.systemd.write(self.config, "what = {");
        let ran = self.systemd.run(&["systemctl", "reload", self.unit]);
        assert!(!ran.status.success(), "{ran:?}");
        assert_eq!(self.main(), before);
        let good = String::from_utf8(good.unwrap()).unwrap();
        self.systemd.write(self.config, &good);
    }

    /// SIGKILL of the daemon alone; systemd starts it again.
    #[track_caller]
    fn crash(&self) {
        let before = self.main();
        let kill = ["kill", "--kill-whom=main", "--signal=KILL", self.unit];
        self.systemd.ctl(&kill);
        wait_for("another daemon", LATE, || {
            let state = self.systemd.property(self.unit, "ActiveState");
            let now = self.systemd.property(self.unit, "MainPID");
            match state == "active" && now != before {
                true => Ok(()),
                false => Err(format!("{state} {now}")),
            }
        });
        assert_eq!(self.systemd.property(self.unit, "NRestarts"), "1");
    }

    fn load(&self) -> hancock_testkit::load::Running {
        Load::to(self.http, "web.localhost").rate(50).start()
    }
}

/// Sockets that systemd keeps refuse nobody. Requests under way on connections of a daemon that ends by force end with it.
#[track_caller]
fn assert_none_refused(tally: &Tally) {
    assert!(!tally.causes.contains_key(&Cause::Refused), "{tally}");
    assert!(!tally.causes.contains_key(&Cause::Timeout), "{tally}");
    let answered: u64 = tally.words.values().sum();
    assert!(answered > 100, "{tally}");
}

#[test]
fn units_are_without_fault() {
    if let Some(why) = systemd::missing() {
        return skip::skip(&skip::test_name(), &why);
    }
    let dir = tempfile::tempdir().unwrap();
    for unit in UNITS {
        // The program need not be installed here.
        let text = std::fs::read_to_string(packaged(unit)).unwrap();
        std::fs::write(dir.path().join(unit), text.replace(PROGRAM, BINARY)).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    let ran = verify
        .args(UNITS.map(|unit| dir.path().join(unit)))
        .output();
    let ran = ran.unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && told.is_empty(), "{told}");
}

#[test]
fn instances_outlive_their_agent_whatever_ends_it() {
    let cluster = Cluster::start(1);
    let [http, admin, stream] = std::array::from_fn(|_| local(quiet_port()));
    let first = quiet_range();
    let text = format!(
        "node = \"n1\"\nmasters = [\"{}\"]\njoin-token = {:?}\nruntime = \"process\"\ndata-dir = \"/var/lib/hancock/node\"\n\
         http = \"{http}\"\nadmin = \"{admin}\"\nstream-admin = \"{stream}\"\ninstance-ports = \"{first}-{}\"\n",
        cluster.agents(0),
        cluster.join,
        first + PORTS - 1
    );
    let unit = "hancock-agent.service";
    let Some(machine) = Machine::with(unit, "/etc/hancock/agent.toml", &text, http) else {
        return;
    };
    machine.ctl("start");
    wait_nodes(&cluster, 1);
    let spec = Spec::web(Runtime::Process).command(&[PROGRAM, "demo-app"]);
    let file = cluster.path("web.yaml");
    std::fs::write(&file, spec.replicas(2).text()).unwrap();
    let file = file.display().to_string();
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    let before = lives(&wait_serving(&cluster, "web", 2));
    let same = |deed: &str| {
        wait_nodes(&cluster, 1);
        assert_eq!(lives(&wait_serving(&cluster, "web", 2)), before, "{deed}");
    };

    let load = machine.load();
    machine.reload();
    machine.reload_with_nonsense();
    same("reloads restart nothing");
    let tally = load.stop();
    tally.assert_none_failed();

    let load = machine.load();
    machine.ctl("restart");
    same("a restart of the agent restarts nothing else");
    machine.crash();
    same("nor does its crash");
    load.wait_until("answers", LATE, |t| t.answered("v1") > 200);
    assert_none_refused(&load.stop());

    machine.ctl("stop");
    for (_, _, process) in &before {
        assert!(process.is_alive(), "instances run on without their agent");
    }
    machine.ctl("start");
    same("the next agent finds what runs");
}

#[test]
fn a_balancer_refuses_nobody_over_reload_restart_and_crash() {
    let [http, admin, stream] = std::array::from_fn(|_| local(quiet_port()));
    let origin = quiet_port();
    let _origin = Origin::on(origin);
    let text = format!("http = \"{http}\"\nadmin = \"{admin}\"\nstream-admin = \"{stream}\"\n");
    let unit = "hancock-balancer.service";
    let Some(machine) = Machine::with(unit, "/etc/hancock/balancer.toml", &text, http) else {
        return;
    };
    machine.ctl("start");
    put(admin, "web.localhost", origin, false);

    let load = machine.load();
    machine.reload();
    load.wait_until("answers", LATE, |t| t.answered("a") > 50);
    load.stop().assert_none_failed();

    let load = machine.load();
    machine.ctl("restart");
    machine.crash();
    load.wait_until("answers", LATE, |t| t.answered("a") > 200);
    assert_none_refused(&load.stop());
}

#[test]
fn a_master_starts_as_it_is_shipped_and_stops_in_order() {
    let [api, agents, peers] = std::array::from_fn(|_| local(quiet_port()));
    let text = format!(
        "name = \"m1\"\ndata-dir = \"/var/lib/hancock\"\napi = \"{api}\"\nagents = \"{agents}\"\npeers = \"{peers}\"\n"
    );
    let (unit, config) = ("hancock-master.service", "/etc/hancock/master.toml");
    let Some(machine) = Machine::with(unit, config, &text, api) else {
        return;
    };
    std::fs::create_dir_all(machine.systemd.path("/var/lib/hancock")).unwrap();
    let init = [
        PROGRAM, "master", "init", "--output", "json", "--config", config,
    ];
    let init = machine.systemd.run(&init);
    assert!(init.status.success(), "{init:?}");
    let founded: serde_json::Value = serde_json::from_slice(&init.stdout).unwrap();
    let token = format!(
        "HANCOCK_TOKEN={}",
        founded["operator_token"].as_str().unwrap()
    );
    let status = || {
        let api = format!("HANCOCK_MASTER=https://{api}");
        let words = ["env", &token, &api, PROGRAM, "status", "--output", "json"];
        let ran = machine.systemd.run(&words);
        match ran.status.success() {
            true => Ok(()),
            false => Err(format!("{ran:?}")),
        }
    };
    machine.ctl("start");
    wait_for("a master that answers", LATE, status);
    machine.ctl("restart");
    wait_for("a master that answers again", LATE, status);
    machine.ctl("stop");
    let result = machine.systemd.property(unit, "Result");
    assert_eq!(result, "success", "it ends when it is told to");
}
