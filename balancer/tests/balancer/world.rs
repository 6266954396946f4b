//! A running balancer, and documents for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hancock_balancer::probe::Prober;
use hancock_balancer::{
    AccessOptions, Balancer, Engine, Handle, Lines, LocalCheck, LocalInstance, Options,
};
use hancock_proto::app::{CheckKind, HealthCheck};
use hancock_proto::ids::{DocIndex, InstanceId};
use hancock_proto::report::ServiceReport;
use hancock_proto::units::Span;
use hancock_proto::upstream::{Member, Server, UpstreamDoc};
use hancock_testkit::wait::wait_for_async;
use tempfile::TempDir;

use crate::client::PATIENCE;

pub const WEB: &str = "web.example";

pub struct World {
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    pub handle: Handle,
    pub balancer: Balancer,
    pub folder: Arc<TempDir>,
}

pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Every test means both engines: tests/run has them again with all requests on the general one.
pub fn engine() -> Engine {
    match std::env::var("HANCOCK_ENGINE").as_deref() {
        Err(_) => Engine::Auto,
        Ok("general") => Engine::General,
        Ok(other) => panic!("HANCOCK_ENGINE is {other:?}; leave it out, or say general"),
    }
}

pub fn options(folder: &Path) -> (Options, SocketAddr, SocketAddr) {
    let ((http, proxy), (admin, admin_address)) = (listener(), listener());
    let options = Options {
        node: "n1".parse().unwrap(),
        http,
        admin: Some(admin),
        data_dir: folder.to_owned(),
        threads: 2,
        engine: engine(),
        check_interval: Duration::from_millis(50),
        tcp: None,
        stream_admin: None,
        token: None,
        access: Default::default(),
        inherited: Default::default(),
    };
    (options, proxy, admin_address)
}

/// The same, with records of requests in a file.
pub fn recorded(folder: &Path) -> (Options, SocketAddr, PathBuf) {
    let log = folder.join("access.log");
    let (mut options, proxy, _) = options(folder);
    options.access = AccessOptions {
        collector: None,
        lines: Some(Lines::File(log.clone())),
    };
    (options, proxy, log)
}

impl World {
    pub async fn new() -> Self {
        Self::start(Arc::new(tempfile::tempdir().unwrap()), None).await
    }

    pub async fn with_prober(prober: Arc<dyn Prober>) -> Self {
        Self::start(Arc::new(tempfile::tempdir().unwrap()), Some(prober)).await
    }

    pub async fn start(folder: Arc<TempDir>, prober: Option<Arc<dyn Prober>>) -> Self {
        let (options, proxy, admin) = options(folder.path());
        let balancer = match prober {
            Some(prober) => Balancer::start_with(options, prober).await,
            None => Balancer::start(options).await,
        };
        let balancer = balancer.unwrap();
        Self {
            proxy,
            admin,
            handle: balancer.handle(),
            balancer,
            folder,
        }
    }

    pub async fn stop(self) -> Arc<TempDir> {
        self.balancer.shutdown(Duration::from_secs(5)).await;
        self.folder
    }

    pub fn apply(&self, doc: UpstreamDoc) {
        self.handle.apply(WEB, Some(Arc::new(doc))).unwrap();
    }

    pub fn report(&self) -> ServiceReport {
        self.handle
            .services()
            .remove(WEB)
            .expect("the service is reported")
    }

    /// Waits for a report that `wanted` accepts.
    pub async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&ServiceReport) -> bool,
    ) -> ServiceReport {
        wait_for_async(what, PATIENCE, || async {
            let report = self.report();
            if wanted(&report) {
                Ok(report)
            } else {
                Err(format!("{report:?}"))
            }
        })
        .await
    }

    pub async fn until_confirmed(&self, index: u64) -> ServiceReport {
        self.until("the confirmation", |r| r.confirmed == DocIndex(index))
            .await
    }
}

pub fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

/// Peer `name` on this machine.
pub fn server(name: &str, port: u16) -> Server {
    Server {
        host: "127.0.0.1".into(),
        port,
        instance: Some(id(name)),
        ..Server::default()
    }
}

/// A master's document with nobody added and nobody retiring.
pub fn doc(index: u64, servers: Vec<Server>) -> UpstreamDoc {
    let mut doc: UpstreamDoc =
        serde_json::from_value(serde_json::json!({"cluster": [{"servers": []}]})).unwrap();
    doc.cluster[0].servers = servers;
    doc.hancock = Some(Member {
        app: "web".parse().unwrap(),
        index: DocIndex(index),
        added: Vec::new(),
        retiring: Vec::new(),
        max_unavailable: 0,
        accept_timeout_ms: 10_000,
        check: None,
        check_ports: BTreeMap::new(),
        session_drain_timeout_ms: None,
        zones: BTreeSet::new(),
    });
    doc
}

/// The same with members of a hand-over.
pub fn handover(
    index: u64,
    servers: Vec<Server>,
    added: &[&str],
    retiring: Vec<Server>,
) -> UpstreamDoc {
    let mut doc = doc(index, servers);
    if let Some(member) = &mut doc.hancock {
        member.added = added.iter().map(|i| id(i)).collect();
        member.retiring = retiring;
    }
    doc
}

/// A plain document, as any Slardar would write it.
pub fn plain(json: serde_json::Value) -> UpstreamDoc {
    serde_json::from_value(json).unwrap()
}

/// An instance judged every few milliseconds.
pub fn judged(port: u16, kind: CheckKind, rise: u32, fall: u32) -> LocalInstance {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let check = HealthCheck {
        kind,
        port: Some("http".into()),
        path: Some("/".into()),
        expect: Vec::new(),
        command: vec!["check".into()],
        interval: Span::millis(20),
        start_interval: Span::millis(20),
        start_period: None,
        timeout: Span::seconds(1),
        rise,
        fall,
    };
    LocalInstance {
        address,
        check: Some(LocalCheck::Asked(check, address, WEB.to_owned())),
    }
}
