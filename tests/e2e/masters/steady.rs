//! What must not be noticed: a machine with too much to do, and masters restarted one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hancock_proto::api::StatusView;
use hancock_testkit::skip::long;
use hancock_testkit::wait::{stays, wait_for};
use nix::sys::signal::Signal;

use super::cluster::{Cluster, LATE, web};
use super::faults::{Clients, WRITERS};

/// Threads that do nothing but compute, on however few processors.
const BUSY: usize = 10;
/// Longest a write may take while the masters are restarted: a handover, not an election.
const WRITE: Duration = Duration::from_secs(3);

fn status(cluster: &Cluster) -> Result<StatusView, String> {
    let answer = cluster.get(0, "/v1/status")?;
    serde_json::from_str(&answer.body).map_err(|e| format!("{e}: {answer:?}"))
}

#[test]
fn a_busy_machine_elects_nobody() {
    let span = Duration::from_secs(if long() { 600 } else { 30 });
    let cluster = Cluster::start(3);
    let clients = Clients::new(&cluster);
    let stop = Arc::<AtomicBool>::default();
    let before = wait_for("the beginning", LATE, || status(&cluster));
    let writers = clients.start(&cluster, &stop);
    let busy: Vec<_> = (0..BUSY)
        .map(|_| {
            let stop = stop.clone();
            thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
        })
        .collect();
    let mut load: f64 = 0.0;
    stays("the leader", span, || {
        load = load.max(running());
        let now = status(&cluster)?;
        let same = now.term == before.term && now.leader == before.leader;
        if same {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    stop.store(true, Ordering::SeqCst);
    for thread in busy {
        thread.join().unwrap();
    }
    let writes: usize = writers.into_iter().map(|w| w.join().unwrap().len()).sum();
    println!("{writes} writes in {span:?}, {load} wanted to run at a time");
    assert!(load > 8.0 && writes > 50);
}

/// How many threads of this machine want to run just now.
fn running() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    let running = text.split([' ', '/']).nth(3).unwrap();
    running.parse().unwrap()
}

#[test]
fn a_rolling_restart_fails_no_write() {
    let mut cluster = Cluster::start(3);
    let clients = Clients::new(&cluster);
    let stop = Arc::<AtomicBool>::default();
    let writers = clients.start(&cluster, &stop);
    let mut last = 0;
    for master in 0..3 {
        wait_for("writes between two restarts", LATE, || {
            let now = clients.written();
            if now >= last + 60 { Ok(()) } else { Err(now) }
        });
        cluster.signal(master, Signal::SIGTERM);
        assert!(cluster.wait_exit(master).success());
        cluster.spawn(master);
        cluster.wait_voters(3);
        last = clients.written();
    }
    stop.store(true, Ordering::SeqCst);
    let answered: Vec<(u64, Duration)> = writers
        .into_iter()
        .flat_map(|w| w.join().unwrap())
        .collect();
    let slowest = answered.iter().map(|(_, took)| *took).max().unwrap();
    println!(
        "{} writes over three restarts, the slowest took {slowest:.2?}",
        answered.len()
    );
    assert!(slowest < WRITE, "{slowest:?}");
    let probe = cluster.send(0, "PUT", "/v1/apps/probe", None, &web("probe"));
    let probe: serde_json::Value = serde_json::from_str(&probe.unwrap().body).unwrap();
    let expected = (WRITERS + answered.len() + 1) as u64;
    assert_eq!(
        probe["deployment"].as_u64(),
        Some(expected),
        "none lost, none twice"
    );
}
