//! Many balancers that follow one etcd: how long from a document being written to every one of them routing by it.
//!
//! Small here; with `HANCOCK_LONG=1` and optimized (`tests/bench/run fleet`) as large as promised: 50 balancers, 10,000 services. `BALANCERS`
//! and `SERVICES` say otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hancock_balancer::{Balancer, Following, Handle};
use hancock_proto::ids::Term;
use hancock_proto::registry::{Batch, Fence, MAX_BATCH, Outcome};
use hancock_proto::upstream::{Level, Server, UpstreamDoc};
use hancock_registry::UpstreamRegistry;
use hancock_registry::etcd::{Etcd as Registry, Options, Timing};
use hancock_registry::memory::Memory;
use hancock_testkit::etcd::Etcd;
use hancock_testkit::fixture::missing;
use hancock_testkit::proc::resident_kib;
use hancock_testkit::skip::{rounds, skip, test_name};
use hancock_testkit::wait::wait_for_async;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// For a fleet to be loaded on a machine that is busy with other tests.
const LATE: Duration = Duration::from_secs(600);
/// From written to routed by everybody, on a machine with nothing else to do.
const BAR: Duration = Duration::from_millis(50);

struct One {
    handle: Handle,
    balancer: Balancer,
    _folder: TempDir,
}

fn registry(etcd: &Etcd, seed: usize) -> Registry {
    Registry::new(Options {
        address: etcd.url("edge").parse().unwrap(),
        tls: None,
        timing: Timing::default(),
        seed,
    })
}

impl One {
    async fn start(etcd: &Etcd, seed: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut options, _, _) = crate::world::options(folder.path());
        (options.admin, options.threads) = (None, 1);
        let following = Following {
            registry: Arc::new(registry(etcd, seed)),
            memory: Memory::open(folder.path(), "edge"),
            reader: None,
        };
        let balancer = Balancer::start_following(options, following).await.unwrap();
        Self {
            handle: balancer.handle(),
            balancer,
            _folder: folder,
        }
    }
}

fn document(number: u32) -> Arc<UpstreamDoc> {
    let server = Server {
        host: "127.0.0.1".to_owned(),
        port: 9,
        ..Server::default()
    };
    Arc::new(UpstreamDoc {
        cluster: vec![Level {
            servers: vec![server; 4],
            ..Level::default()
        }],
        enable: Some(false),
        timeout: Some(f64::from(number)),
        ..UpstreamDoc::default()
    })
}

async fn write(registry: &Registry, names: &[String], number: u32) {
    let fence = Fence {
        cluster: "c".parse().unwrap(),
        term: Term(1),
    };
    let change = |name: &String| (name.parse().unwrap(), Some(document(number)));
    let batch = Batch {
        app: "app".parse().unwrap(),
        changes: names.iter().map(change).collect::<BTreeMap<_, _>>(),
    };
    let written = registry.publish(&batch, &fence).await;
    assert!(matches!(written, Ok(Outcome::Committed(_))), "{written:?}");
}

/// When the balancer routes by the document with this number.
async fn routed(handle: Handle, name: String, number: u32) -> Instant {
    let mut changed = handle.changed();
    let is_it = || {
        let doc = handle.document(&name);
        doc.is_some_and(|doc| doc.timeout == Some(f64::from(number)))
    };
    while !is_it() {
        tokio::time::timeout(LATE, changed.changed())
            .await
            .unwrap()
            .unwrap();
    }
    Instant::now()
}

/// What the environment says, or `usual`.
fn sized(variable: &str, usual: usize) -> usize {
    let given = std::env::var(variable).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_written_document_is_soon_routed_by_everywhere() {
    if let Some(reason) = missing("etcd") {
        return skip(&test_name(), &reason);
    }
    let balancers = sized("BALANCERS", rounds(5, 50));
    let services = sized("SERVICES", rounds(200, 10_000));
    let changes = rounds(40, 200);
    let etcd = Etcd::start();
    let writer = registry(&etcd, 0);
    let names: Vec<String> = (0..services).map(|n| format!("s{n}.example")).collect();
    for some in names.chunks(MAX_BATCH) {
        write(&writer, some, 0).await;
    }
    let mut fleet = Vec::new();
    for seed in 0..balancers {
        fleet.push(One::start(&etcd, seed).await);
    }
    let last = names.last().unwrap();
    for one in &fleet {
        wait_for_async("everything to be loaded", LATE, || async {
            one.handle.document(last).map(drop).ok_or("not yet")
        })
        .await;
    }
    let mut times = Vec::new();
    for number in 1..=u32::try_from(changes).unwrap() {
        let name = &names[usize::try_from(number).unwrap() * 37 % services];
        let mut waiting = JoinSet::new();
        for one in &fleet {
            waiting.spawn(routed(one.handle.clone(), name.clone(), number));
        }
        write(&writer, std::slice::from_ref(name), number).await;
        let written = Instant::now();
        while let Some(at) = waiting.join_next().await {
            times.push(at.unwrap().saturating_duration_since(written));
        }
    }
    times.sort();
    let part = |share: usize| times[(times.len() - 1) * share / 100];
    let memory = resident_kib(i32::try_from(std::process::id()).unwrap()).unwrap() / 1024;
    println!(
        "{balancers} balancers, {services} services, {changes} changes: written to routed p50 {:.1?}, p99 {:.1?}, most {:.1?}; {memory} MiB resident",
        part(50),
        part(99),
        part(100)
    );
    // Beside other tests only the order of magnitude can be judged.
    let bar = if hancock_testkit::skip::long() {
        BAR
    } else {
        BAR * 10
    };
    assert!(part(99) <= bar, "{:?}", part(99));
    for one in fleet {
        one.balancer.shutdown(Duration::ZERO).await;
    }
}
