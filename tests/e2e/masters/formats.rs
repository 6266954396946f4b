//! Three masters are upgraded to a version with a next format, one after the other, while clients write.
//!
//! The next version is this one with the feature `next-format`: it knows one format more, and what it writes in that one no ordinary
//! build can read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hancock_testkit::Daemon;
use hancock_testkit::wait::wait_for;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::cluster::{Cluster, LATE, web};
use super::faults::{Clients, WRITERS};
use crate::world::BINARY;

/// Longest the next version may take to be built; nothing when it is there already.
const BUILD: Duration = Duration::from_secs(900);
/// Writes between two restarts.
const BETWEEN: u64 = 60;
/// Longest a write may take while the masters are restarted: a handover, not an election.
const WRITE: Duration = Duration::from_secs(3);
/// How an older version says no to what it finds.
const REFUSED: &str = "is of format 2, this version knows formats up to 1";

/// The binary of the next version, as new as its sources: it lies beside this one's, which stays as it is.
fn next_version(dir: &Path) -> PathBuf {
    let folder = Path::new(BINARY).parent().unwrap();
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut build = Command::new("cargo");
    build
        .args(["build", "--quiet", "--workspace", "--profile", profile])
        .args(["--example", "hancock-next"])
        .args(["--features", "hancock/next-format"])
        .env("CARGO_TARGET_DIR", folder.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What the runner says of this package is nothing for the build: some crates are made anew when it changes.
    let said = |name: &str| {
        let of_a_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
        of_a_package.iter().any(|begin| name.starts_with(begin))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| said(name)) {
        build.env_remove(name);
    }
    let log = dir.join("build.log");
    let built = Daemon::start(&mut build, &log).wait_exit(BUILD);
    let told = fs::read_to_string(log).unwrap();
    assert!(built.success(), "{build:?} fails: {told}");
    folder.join("examples/hancock-next")
}

/// What every master says: the format that is written, and the newest each knows, by name.
fn formats(cluster: &Cluster) -> Result<(u32, Vec<u32>), String> {
    let mut masters = cluster.masters()?;
    masters.sort_by(|a, b| a.name.cmp(&b.name));
    let written = masters.first().ok_or("no masters")?.format;
    Ok((written, masters.iter().map(|m| m.knows).collect()))
}

#[track_caller]
fn wait_formats(cluster: &Cluster, written: u32, known: [u32; 3]) {
    wait_for("what the masters know", LATE, || {
        let seen = formats(cluster)?;
        if seen == (written, known.to_vec()) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
}

/// Ends a master in order, and starts another version on what it has.
fn replace(cluster: &mut Cluster, clients: &Clients, master: usize, binary: &Path) {
    let written = clients.written() + BETWEEN;
    wait_for("writes between two restarts", LATE, || {
        let now = clients.written();
        if now >= written { Ok(()) } else { Err(now) }
    });
    stop(cluster, master);
    cluster.install(master, binary);
    cluster.spawn(master);
    cluster.wait_voters(3);
}

fn stop(cluster: &mut Cluster, master: usize) {
    cluster.signal(master, Signal::SIGTERM);
    assert!(cluster.wait_exit(master).success());
}

/// All files of a master's log, with what is in them.
fn files(cluster: &Cluster, master: usize) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = cluster.path(&cluster.names()[master]);
    let mut folders = vec![folder];
    let mut found = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lock") {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_rolling_upgrade_to_a_next_format_fails_no_write() {
    let dir = tempfile::tempdir().unwrap();
    let (former, next) = (Path::new(BINARY), next_version(dir.path()));
    let mut cluster = Cluster::start(3);
    let clients = Clients::new(&cluster);
    let stopped = Arc::<AtomicBool>::default();
    let writers = clients.start(&cluster, &stopped);
    wait_formats(&cluster, 1, [1, 1, 1]);
    // One is tried, and set back: nothing has happened that the former version does not know.
    replace(&mut cluster, &clients, 0, &next);
    wait_formats(&cluster, 1, [2, 1, 1]);
    let list = cluster.ask(&["master", "list"]).ok();
    assert!(
        list.contains("1 of 2") && list.contains("until m2, m3 know format 2"),
        "{list}"
    );
    replace(&mut cluster, &clients, 0, former);
    wait_formats(&cluster, 1, [1, 1, 1]);
    replace(&mut cluster, &clients, 0, &next);
    replace(&mut cluster, &clients, 1, &next);
    wait_formats(&cluster, 1, [2, 2, 1]);
    replace(&mut cluster, &clients, 2, &next);
    wait_formats(&cluster, 2, [2, 2, 2]);
    let list = cluster.ask(&["master", "list"]).ok();
    assert!(!list.contains(" of 2") && !list.contains("until"), "{list}");
    replace(&mut cluster, &clients, 0, &next);
    stopped.store(true, Ordering::SeqCst);
    let answered = writers.into_iter().flat_map(|w| w.join().unwrap());
    let answered: Vec<(u64, Duration)> = answered.collect();
    let slowest = answered.iter().map(|(_, took)| *took).max().unwrap();
    let writes = answered.len();
    println!("{writes} writes over six restarts, the slowest took {slowest:.2?}");
    assert!(slowest < WRITE, "{slowest:?}");
    let events = cluster.get(1, "/v1/events").unwrap().body;
    assert_eq!(events.matches("format_agreed").count(), 1, "{events}");
    refuse_the_former(&mut cluster, &next);
    for master in 0..3 {
        stop(&mut cluster, master);
    }
    for master in 0..3 {
        cluster.spawn(master);
    }
    cluster.wait_voters(3);
    wait_formats(&cluster, 2, [2, 2, 2]);
    let probe = cluster.send(0, "PUT", "/v1/apps/probe", None, &web("probe"));
    let probe: Value = serde_json::from_str(&probe.unwrap().body).unwrap();
    let expected = (WRITERS + writes + 1) as u64;
    let number = probe["deployment"].as_u64();
    assert_eq!(number, Some(expected), "none lost, none twice");
}

/// What the next format was written in is refused by the former version, wherever it meets it, and left as it is.
fn refuse_the_former(cluster: &mut Cluster, next: &Path) {
    let former = Path::new(BINARY);
    stop(cluster, 2);
    let before = files(cluster, 2);
    cluster.install(2, former);
    cluster.spawn(2);
    assert!(!cluster.wait_exit(2).success());
    let told = cluster.told(2);
    assert!(
        told.contains(REFUSED) && told.contains("start the newer version again"),
        "{told}"
    );
    assert!(before == files(cluster, 2), "nothing was changed");
    cluster.install(2, next);
    cluster.spawn(2);
    cluster.wait_voters(3);
    let fourth = cluster.prepare("m4");
    let contact = cluster.peers(1).to_string();
    let refused = cluster.run(fourth, &["master", "join", &contact]).fails(1);
    assert!(
        refused.contains("the cluster writes format 2")
            && refused.contains("m4 knows formats up to 1: install the version"),
        "{refused}"
    );
    cluster.install(fourth, next);
    cluster.run(fourth, &["master", "join", &contact]).ok();
    let saved = cluster.path("backup");
    let save = ["snapshot", "save", saved.to_str().unwrap()];
    let told = cluster.ask(&save).ok();
    assert!(told.contains("format      2"), "{told}");
    let restore = ["snapshot", "restore", saved.to_str().unwrap()];
    let fifth = cluster.prepare("m5");
    let refused = cluster.run(fifth, &restore).fails(1);
    assert!(refused.contains(REFUSED), "{refused}");
}
