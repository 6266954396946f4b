//! Clients read and write one number while masters are killed, stopped and cut off from each other; what they saw must be what a single
//! register could have shown.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hancock_proto::api::AppSummary;
use hancock_testkit::history::{Deed, Operation, check};
use hancock_testkit::skip::rounds;
use hancock_testkit::wait::{stays, wait_for};
use nix::sys::signal::Signal;

use super::cluster::{Cluster, LATE, send, web};

/// Registers: apps whose number of replicas is written and read.
const REGISTERS: [&str; 2] = ["red", "blue"];
/// Clients of each.
const CLIENTS: usize = 4;
/// One of so many operations is a write.
const WRITES: u64 = 4;
/// Operations of each register between two faults.
const BETWEEN: usize = 60;
/// How long a fault lasts.
const LASTS: Duration = Duration::from_millis(1500);
/// What each register holds first: the app's own number of replicas.
const FIRST: u64 = 1;

/// What goes wrong in a round; it hits the leader unless it says otherwise.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Killed,
    Stopped,
    Alone,
    Deaf,
    Mute,
    FollowerAlone,
}

const FAULTS: [Fault; 6] = [
    Fault::Alone,
    Fault::Killed,
    Fault::Deaf,
    Fault::Stopped,
    Fault::Mute,
    Fault::FollowerAlone,
];

/// Everything one client of a register needs.
#[derive(Clone)]
struct Client {
    apis: Vec<SocketAddr>,
    token: String,
    app: &'static str,
    begun: Instant,
    /// Numbers given out: none is written twice.
    next: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<Operation>>>,
    stop: Arc<AtomicBool>,
}

impl Client {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap()
    }

    fn run(self, number: usize) -> JoinHandle<()> {
        thread::spawn(move || {
            for turn in number.. {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                let api = self.apis[turn % self.apis.len()];
                let called = self.now();
                let operation = match turn as u64 % WRITES {
                    0 => self.write(api, called),
                    _ => self.read(api, called),
                };
                self.seen.lock().unwrap().extend(operation);
            }
        })
    }

    /// None: nothing was written.
    fn write(&self, api: SocketAddr, called: u64) -> Option<Operation> {
        let value = self.next.fetch_add(1, Ordering::SeqCst);
        let path = format!("/v1/apps/{}/scale", self.app);
        let body = format!(r#"{{"replicas":{value}}}"#);
        let answer = send(api, &self.token, "POST", &path, None, &body);
        let returned = match answer {
            Ok(answer) if answer.status == 200 => Some(self.now()),
            Ok(answer) if answer.body.contains("\"no_leader\"") => return None,
            Ok(answer) if answer.status == 503 => None,
            Ok(answer) => panic!("{answer:?}"),
            // Broken off: it may have been written, or may still be.
            Err(_) => None,
        };
        let deed = Deed::Write(value);
        Some(Operation {
            deed,
            called,
            returned,
        })
    }

    fn read(&self, api: SocketAddr, called: u64) -> Option<Operation> {
        let answer = send(api, &self.token, "GET", "/v1/apps", None, "").ok()?;
        if answer.status != 200 {
            return None;
        }
        let apps: Vec<AppSummary> = serde_json::from_str(&answer.body).unwrap();
        let app = apps.iter().find(|app| app.app.as_str() == self.app)?;
        Some(Operation {
            deed: Deed::Read(u64::from(app.replicas)),
            called,
            returned: Some(self.now()),
        })
    }
}

#[test]
fn what_clients_see_is_what_one_register_shows() {
    let mut cluster = Cluster::start_apart(3);
    let mut clients = Vec::new();
    let (begun, stop) = (Instant::now(), Arc::<AtomicBool>::default());
    let mut registers = Vec::new();
    for app in REGISTERS {
        let put = cluster.send(0, "PUT", &format!("/v1/apps/{app}"), None, &web(app));
        assert_eq!(put.unwrap().status, 200);
        let seen = Arc::<Mutex<Vec<Operation>>>::default();
        let client = Client {
            apis: (0..3).map(|n| cluster.api(n)).collect(),
            token: cluster.token.clone(),
            app,
            begun,
            next: Arc::new(AtomicU64::new(FIRST + 1)),
            seen: seen.clone(),
            stop: stop.clone(),
        };
        clients.extend((0..CLIENTS).map(|number| client.clone().run(number)));
        registers.push((app, seen));
    }
    for round in 0..rounds(FAULTS.len(), 120) {
        suffer(&mut cluster, FAULTS[round % FAULTS.len()], round);
        for (_, seen) in &registers {
            let before = seen.lock().unwrap().len();
            wait_for("operations between two faults", LATE, || {
                let now = seen.lock().unwrap().len() - before;
                if now >= BETWEEN { Ok(()) } else { Err(now) }
            });
        }
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    for (app, seen) in registers {
        let seen = seen.lock().unwrap();
        let written = |op: &&Operation| matches!(op.deed, Deed::Write(_)) && op.returned.is_some();
        let (writes, lost) = (
            seen.iter().filter(written).count(),
            seen.iter().filter(|op| op.returned.is_none()).count(),
        );
        println!(
            "{app}: {} operations, {writes} answered writes, {lost} without an answer",
            seen.len()
        );
        assert!(writes > 20, "too few writes to mean anything: {writes}");
        check(FIRST, &seen).unwrap_or_else(|violation| panic!("{app}: {violation}"));
    }
}

/// One fault, its time, and its end.
fn suffer(cluster: &mut Cluster, fault: Fault, round: usize) {
    let leader = cluster.leader();
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    println!("round {round}: {fault:?}, m{} leads", leader + 1);
    let paths = cluster.paths();
    match fault {
        Fault::Killed => cluster.crash(leader),
        Fault::Stopped => cluster.signal(leader, Signal::SIGSTOP),
        Fault::Alone | Fault::Deaf | Fault::Mute => {
            for other in others {
                if !matches!(fault, Fault::Mute) {
                    paths.cut(other, leader);
                }
                if !matches!(fault, Fault::Deaf) {
                    paths.cut(leader, other);
                }
            }
        }
        Fault::FollowerAlone => {
            for other in [leader, others[1]] {
                paths.cut(other, others[0]);
                paths.cut(others[0], other);
            }
        }
    }
    // The fault lasts, whatever the others do meanwhile.
    stays("the fault", LASTS, || Ok::<_, String>(()));
    match fault {
        Fault::Killed => cluster.spawn(leader),
        Fault::Stopped => cluster.signal(leader, Signal::SIGCONT),
        _ => paths.heal(),
    }
    wait_for("a leader everybody follows", LATE, || {
        let told: Vec<_> = (0..3).map(|n| cluster.get(n, "/v1/apps")).collect();
        let all = told
            .iter()
            .all(|t| t.as_ref().is_ok_and(|t| t.status == 200));
        if all {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    });
}
