//! Three members that are killed, stopped, compacted and wiped while services change 20 times a second: no request fails, and what was
//! written last is served soon after the store is well.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hancock_proto::ids::Term;
use hancock_proto::registry::{Batch, Fence, Outcome};
use hancock_proto::upstream::read;
use hancock_registry::etcd::{Etcd as Registry, Options, Timing};
use hancock_registry::{RegistryError, UpstreamRegistry};
use hancock_testkit::etcd::Etcd;
use hancock_testkit::skip::rounds;
use hancock_testkit::{wait, wait_for};
use nix::sys::signal::Signal;

use super::can_run;
use super::edge::{Edge, Origin};
use crate::world::SOON;

const HOSTS: [&str; 5] = ["a", "b", "c", "d", "e"];
const PACE: Duration = Duration::from_millis(50);
/// From a store that is well again to everything served.
const HEALING: Duration = Duration::from_secs(5);

/// Number of the newest document of each host that is known to be written.
type Written = Arc<Mutex<BTreeMap<&'static str, u64>>>;

/// Changes one service after the other, as a leader would, until stopped.
struct Writer {
    written: Written,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

struct Writing {
    registry: Registry,
    origins: [u16; 2],
    newest: BTreeMap<&'static str, Batch>,
}

fn fence() -> Fence {
    Fence {
        cluster: "c".parse().unwrap(),
        term: Term(1),
    }
}

impl Writing {
    fn batch(&self, host: &'static str, number: u64) -> Batch {
        let port = self.origins[usize::from(number.is_multiple_of(2))];
        let text = format!(
            r#"{{"enable":false,"servers":[{{"host":"127.0.0.1","port":{port}}}],"number":{number}}}"#
        );
        let doc = read::stored(text.as_bytes()).unwrap();
        Batch {
            app: "app".parse().unwrap(),
            changes: BTreeMap::from([(host.parse().unwrap(), Some(Arc::new(doc)))]),
        }
    }

    /// False: not known to be written.
    async fn write(&mut self, batch: &Batch) -> bool {
        match self.registry.publish(batch, &fence()).await {
            Ok(Outcome::Committed(_)) => true,
            Ok(Outcome::Lost(other)) => panic!("{other:?} rules"),
            Ok(Outcome::Unknown) => false,
            Err(RegistryError::Wiped { .. }) => {
                let again = async {
                    for batch in self.newest.values() {
                        self.registry.fill(batch).await?;
                    }
                    self.registry.raise(&fence()).await
                };
                drop(again.await);
                false
            }
            Err(_) => false,
        }
    }

    async fn run(mut self, written: Written, stop: Arc<AtomicBool>) -> u64 {
        let mut ticks = tokio::time::interval(PACE);
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let host = HOSTS[usize::try_from(number).unwrap() % HOSTS.len()];
            let batch = self.batch(host, number);
            self.newest.insert(host, batch.clone());
            // Nothing newer before the end of this one is known.
            while !self.write(&batch).await && !stop.load(Ordering::Relaxed) {
                ticks.tick().await;
            }
            if !stop.load(Ordering::Relaxed) {
                written.lock().unwrap().insert(host, number);
            }
            ticks.tick().await;
        }
        number
    }
}

impl Writer {
    fn start(etcd: &Etcd, origins: [u16; 2]) -> Self {
        let (written, stop) = (Written::default(), Arc::<AtomicBool>::default());
        let writing = Writing {
            registry: Registry::new(Options {
                address: etcd.url("edge").parse().unwrap(),
                tls: None,
                timing: Timing::default(),
                seed: 1,
            }),
            origins,
            newest: BTreeMap::new(),
        };
        let (told, stopped) = (written.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(writing.run(told, stopped))
        });
        Self {
            written,
            stop,
            thread: Some(thread),
        }
    }

    /// Waits until something newer than now is written: the store is well.
    #[track_caller]
    fn wait_well(&self) -> Instant {
        let newest = || self.written.lock().unwrap().values().max().copied();
        let before = newest();
        wait_for("a write", SOON, || {
            let now = newest();
            if now > before {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        });
        Instant::now()
    }

    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// Waits until the balancer serves at least what is written by now.
#[track_caller]
fn wait_converged(edge: &Edge, written: &Written, since: Instant) {
    let wanted = written.lock().unwrap().clone();
    let left = HEALING.saturating_sub(since.elapsed());
    wait_for("what was written to be served", left, || {
        let served = edge.documents();
        let behind = wanted.iter().find(|(host, number)| {
            served[**host]["number"]
                .as_u64()
                .is_none_or(|n| n < **number)
        });
        match behind {
            None => Ok(()),
            Some((host, number)) => Err(format!(
                "{host} is not at {number}: {}; {}",
                served[*host]["number"],
                edge.registry()
            )),
        }
    });
    println!("converged {:.1?} after healing", since.elapsed());
}

/// Time a fault lasts.
#[track_caller]
fn lasts(edge: &Edge, time: Duration) {
    wait::stays("the balancer", time, || edge.get("a").map(drop));
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Kill(usize),
    /// Long enough to be noticed, or not.
    Stop(usize, Duration),
    KillTwo(usize),
    Wipe,
}

fn strike(etcd: &mut Etcd, edge: &Edge, trouble: Trouble) {
    let time = Duration::from_millis(1500);
    match trouble {
        Trouble::Kill(member) => {
            etcd.crash(member);
            lasts(edge, time);
            // Watches that are behind cannot go on, here and below.
            etcd.compact();
            etcd.restart(member);
        }
        Trouble::Stop(member, time) => {
            etcd.signal(member, Signal::SIGSTOP);
            lasts(edge, time);
            etcd.compact();
            etcd.signal(member, Signal::SIGCONT);
        }
        Trouble::KillTwo(spared) => {
            let others: Vec<usize> = (0..3).filter(|member| *member != spared).collect();
            others.iter().for_each(|member| etcd.crash(*member));
            lasts(edge, time);
            others.iter().for_each(|member| etcd.restart(*member));
        }
        Trouble::Wipe => etcd.wipe(),
    }
}

#[test]
fn members_come_and_go_and_no_request_fails() {
    if !can_run() {
        return;
    }
    let mut etcd = Etcd::cluster(3);
    let origins = [Origin::start("v1"), Origin::start("v2")];
    let writer = Writer::start(&etcd, [origins[0].port(), origins[1].port()]);
    let edge = Edge::start(&etcd.url("edge"));
    let begun = writer.wait_well();
    wait_for("all hosts to be written", SOON, || {
        let count = writer.written.lock().unwrap().len();
        if count == HOSTS.len() {
            Ok(())
        } else {
            Err(count)
        }
    });
    wait_converged(&edge, &writer.written, begun.max(Instant::now()));
    let load = edge.load("a");
    for round in 0..rounds(1, 10) {
        for trouble in [
            Trouble::Kill(round % 3),
            Trouble::Stop((round + 1) % 3, Duration::from_secs(4)),
            Trouble::KillTwo((round + 2) % 3),
            Trouble::Stop(round % 3, Duration::from_secs(1)),
            Trouble::Wipe,
        ] {
            println!("{trouble:?}");
            strike(&mut etcd, &edge, trouble);
            etcd.compact();
            let well = writer.wait_well();
            wait_converged(&edge, &writer.written, well);
        }
    }
    let changes = writer.stop();
    let tally = load.stop();
    println!("{changes} changes; {tally}; {}", edge.registry());
    tally.assert_none_failed();
    assert!(edge.registry()["refused"].as_object().unwrap().is_empty());

    // Data that stays the same swaps nothing, however it comes.
    wait::stays("what is served", Duration::from_secs(1), || {
        edge.get("a").map(drop)
    });
    let version = || edge.status()["shd_config_version"].clone();
    let before = version();
    for member in 0..3 {
        strike(&mut etcd, &edge, Trouble::Kill(member));
        etcd.compact();
    }
    edge.wait("a registry that answers", |r| {
        (r["connected"] == true).then_some(())
    });
    assert_eq!(version(), before);
}
