//! `hancock doctor` on the machine the tests run on: what is wrong here is made so.

use std::net::TcpListener;
use std::process::Command;

use hancock_testkit::Daemon;
use serde_json::Value;

use crate::masters::cluster::{Cluster, LATE};
use crate::world::{BINARY, Ran, finish};

/// Looks with a configuration of plain processes, the given lines in it.
fn look(lines: &str, options: &[&str]) -> (Ran, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("agent.toml");
    let data = dir.path().join("not/there/yet");
    let text = format!(
        "masters = [\"127.0.0.1:1\"]\nruntime = \"process\"\ndata-dir = {data:?}\n{lines}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(BINARY);
    command
        .env_remove("HANCOCK_MASTER")
        .env_remove("HANCOCK_TOKEN");
    command
        .arg("doctor")
        .arg("--config")
        .arg(&config)
        .args(options);
    let ran = finish(&mut command, dir.path());
    let found = serde_json::from_str(&ran.out).unwrap_or_default();
    (ran, found)
}

fn of<'a>(found: &'a [Value], check: &str) -> &'a Value {
    let one = found.iter().find(|finding| finding["check"] == check);
    one.unwrap_or_else(|| panic!("{check} in {found:#?}"))
}

/// Three addresses that nobody listens on.
fn quiet() -> String {
    let [http, admin, stream] = std::array::from_fn(|_| hancock_testkit::port::quiet_port());
    format!(
        "http = \"127.0.0.1:{http}\"\nadmin = \"127.0.0.1:{admin}\"\nstream-admin = \"127.0.0.1:{stream}\""
    )
}

#[test]
fn a_port_that_is_taken_fails_and_names_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let lines = quiet();
    let lines = lines.split_once('\n').unwrap().1;
    let (ran, found) = look(&format!("http = \"{at}\"\n{lines}"), &["--output", "json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let finding = of(&found, "port of http");
    assert_eq!(finding["level"], "fail", "{finding}");
    let told = finding["found"].as_str().unwrap();
    assert!(
        told.contains(&format!("process {}", std::process::id())),
        "{told}"
    );
    for finding in &found {
        let bad = finding["level"] != "ok";
        assert_eq!(
            finding["why"].is_string() && finding["fix"].is_string(),
            bad,
            "{finding}"
        );
    }
    assert_eq!(of(&found, "port of admin")["level"], "ok");
    assert_eq!(of(&found, "configuration")["level"], "ok");
    assert!(of(&found, "disk of the data directory")["found"].is_string());
}

#[test]
fn what_the_exit_code_says_is_what_is_shown() {
    let (ran, _) = look(&quiet(), &[]);
    let failed = ran.out.lines().any(|line| line.starts_with("FAIL"));
    assert_eq!(ran.code, Some(i32::from(failed)), "{ran:?}");
    assert!(ran.out.contains("outgoing ports"), "{ran:?}");
    // Those that the kernel gives away itself.
    let (_, found) = look(
        &format!("instance-ports = \"20000-29999,40001,40003\"\n{}", quiet()),
        &["--output", "json"],
    );
    let finding = of(&found, "outgoing ports");
    assert_eq!(finding["level"], "warn", "{finding}");
    let told = finding["found"].as_str().unwrap();
    assert!(told.ends_with("40001,40003"), "{told}");
}

#[test]
fn an_agent_warns_of_the_same_ports_at_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = dir.path().join("agent.toml");
    let text = format!(
        "masters = [\"127.0.0.1:1\"]\njoin-token = \"join-x\"\nnode = \"n1\"\nruntime = \"process\"\ndata-dir = {data:?}\n\
         instance-ports = \"30000-65000\"\n{}\n",
        quiet()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["agent", "--config"]).arg(&config);
    let mut daemon = Daemon::start(&mut command, &dir.path().join("log"));
    daemon.wait_line("host ports overlap", LATE);
}

#[test]
fn a_configuration_that_is_wrong_fails() {
    let (ran, found) = look("htpp = \"x\"", &["--output", "json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let told = of(&found, "configuration")["found"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(told.contains("htpp"), "{told}");
}

#[test]
fn the_clock_is_compared_with_a_masters() {
    let cluster = Cluster::start(1);
    let ran = cluster.ask(&["doctor", "--output", "json"]);
    let found: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let clock = of(&found, "clock");
    assert_eq!(clock["found"], "as the master's, to the second", "{clock}");
}
