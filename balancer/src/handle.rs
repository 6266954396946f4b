//! The door for the rest of the process: start, apply, ask, stop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use hancock_balancer_core::peer::Verdict;
use hancock_proto::app::HealthCheck;
use hancock_proto::ids::{InstanceId, NodeId};
use hancock_proto::report::{Condition, ServiceReport};
use hancock_proto::upstream::{self, Level, UpstreamDoc};

use crate::access::{AccessOptions, Carriers, LOGGER};
use crate::admin::{Admin, Server};
use crate::control::{Control, Parts};
use crate::fed::{Fed, Following};
use crate::handover::{
    Change, FormerLink, Inherited, Known, Listening, SocketName, Tail, Verdicts,
};
use crate::http::Engine;
use crate::lastgood::{Log, Writer};
use crate::listen::{Listeners, Served};
use crate::live::Service;
use crate::probe::net::NetProber;
use crate::probe::{Inside, Prober};
use crate::tcp::{self, Before, Tcp, TcpOptions};

/// Time the admin interface has to finish its answers.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// What a balancer needs to start.
#[derive(Debug)]
pub struct Options {
    /// The node it serves on.
    pub node: NodeId,
    /// Where end users' HTTP requests arrive; bound early by the caller, so that a port in use is the caller's error.
    pub http: std::net::TcpListener,
    /// Where the admin interface answers; None: nowhere.
    pub admin: Option<std::net::TcpListener>,
    /// Folder of the last known good documents.
    pub data_dir: PathBuf,
    /// Data-plane threads; at least one is used.
    pub threads: usize,
    /// What serves HTTP requests.
    pub engine: Engine,
    /// Time between rounds of active checks of documents that do not say more.
    pub check_interval: Duration,
    /// TCP services; None: none are served.
    pub tcp: Option<TcpOptions>,
    /// Where the framed management protocol of the TCP side answers; None: nowhere. Without `tcp` it is not served either.
    pub stream_admin: Option<std::net::TcpListener>,
    /// What writers from other machines must show to the admin interface; None: they may not write.
    pub token: Option<String>,
    /// Where a record of every request goes.
    pub access: AccessOptions,
    /// What is taken over from the process before this one.
    pub inherited: Inherited,
}

/// Why a balancer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A deed on the system failed.
    #[error("cannot {deed}")]
    Io {
        /// What was tried, with its operands.
        deed: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a document was not applied, or not wholly. What was served before a wrong one is still served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The document is served as soon as its port can be opened, which is tried again and again.
    #[error("upstream {name:?} was applied, but {problem}")]
    Closed {
        /// Service name: the port.
        name: String,
        /// The address, and what the system said.
        problem: String,
    },
    /// The document is wrong.
    #[error("upstream {name:?} was not applied: {problem}")]
    Invalid {
        /// Service name.
        name: String,
        /// The first thing wrong with it, naming the field.
        problem: String,
    },
}

/// An instance of this node that is to be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalInstance {
    /// Where to dial the served (first) port; port 0: it has none.
    pub address: SocketAddr,
    /// How it is judged. None: ready as soon as it is listed.
    pub check: Option<LocalCheck>,
}

/// How an instance of this node is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LocalCheck {
    /// By asking over the network: what, the checked address, and the Host header of an HTTP check.
    Asked(HealthCheck, SocketAddr, String),
    /// By a command run inside it, through [`Inside`].
    Command {
        /// How often, and how many are enough.
        spec: HealthCheck,
        /// Program and arguments, with nothing left to fill in.
        command: Vec<String>,
    },
    /// By somebody else, who says so here.
    Told {
        /// The verdict.
        ready: bool,
        /// Why.
        reason: String,
    },
}

impl LocalCheck {
    /// What is judged here; None: somebody else does.
    pub(crate) fn spec(&self) -> Option<&HealthCheck> {
        match self {
            Self::Asked(spec, ..) | Self::Command { spec, .. } => Some(spec),
            Self::Told { .. } => None,
        }
    }
}

/// A running balancer; owns its threads and tasks.
pub struct Balancer {
    handle: Handle,
    listeners: Listeners,
    tcp: Option<Tcp>,
    management: Option<Management>,
    access: Carriers,
    tasks: [JoinHandle<()>; 2],
    fed: Option<Fed>,
    data_dir: PathBuf,
    former: Option<FormerLink>,
}

/// The management interface; answers while there is a server.
struct Management {
    listener: Arc<std::net::TcpListener>,
    admin: Arc<Admin>,
    server: Option<Server>,
}

impl Management {
    fn answer(&mut self) -> Result<(), StartError> {
        let started = self.listener.try_clone();
        let started = started.and_then(|listener| Server::start(listener, self.admin.clone()));
        self.server = Some(started.map_err(failed("start the admin interface"))?);
        Ok(())
    }
}

impl Balancer {
    /// Starts serving, with what was last known good.
    ///
    /// # Errors
    /// The data directory, a listener or a thread could not be used.
    pub async fn start(options: Options) -> Result<Balancer, StartError> {
        Self::start_with(options, Arc::new(NetProber::new())).await
    }

    /// The same with another way to probe.
    ///
    /// # Errors
    /// The data directory, a listener or a thread could not be used.
    pub async fn start_with(
        options: Options,
        prober: Arc<dyn Prober>,
    ) -> Result<Balancer, StartError> {
        Self::launch(options, prober, None).await
    }

    /// The same, following a registry: its documents are served beside those of the management interface, which may not write its names.
    ///
    /// # Errors
    /// The data directory, a listener or a thread could not be used. A registry that does not answer is none: what was last known good
    /// is served.
    pub async fn start_following(
        options: Options,
        following: Following,
    ) -> Result<Balancer, StartError> {
        Self::launch(options, Arc::new(NetProber::new()), Some(following)).await
    }

    async fn launch(
        options: Options,
        prober: Arc<dyn Prober>,
        following: Option<Following>,
    ) -> Result<Balancer, StartError> {
        let parts = Parts {
            node: options.node,
            prober,
            check_interval: options.check_interval,
            over_tcp: false,
            changed: watch::channel(0).0,
        };
        let mut inherited = options.inherited;
        let more_http = inherited.sockets.rest(SocketName::Http);
        let before = Before {
            sockets: std::mem::take(&mut inherited.sockets),
            known: std::mem::take(&mut inherited.known.tcp),
        };
        let tcp = options.tcp.map(|mut tcp| {
            let own = [
                Some(&options.http),
                options.admin.as_ref(),
                options.stream_admin.as_ref(),
            ];
            let own = own
                .into_iter()
                .flatten()
                .filter_map(|l| l.local_addr().ok());
            tcp.reserved.extend(own.map(|a| a.port()));
            let parts = Parts {
                over_tcp: true,
                ..parts.clone()
            };
            Tcp::start(
                tcp,
                parts,
                &options.data_dir,
                options.threads,
                options.stream_admin,
                before,
            )
        });
        let tcp = tcp.transpose()?;
        let control = Control::new(parts);
        if let Some(tcp) = &tcp {
            control.followed_by(tcp.control().clone());
        }
        control.handed(inherited.known.locals);
        restore(&control, &options.data_dir, inherited.known.http)?;
        collect(&control, options.access.collector);
        let tcp_control = tcp.as_ref().map(|tcp| tcp.control().clone());
        let handle = Handle {
            control: control.clone(),
            tcp: tcp_control.clone(),
        };
        // Before anything changes: what is still open elsewhere counts from the start.
        let former = inherited.former.map(|tail| FormerLink::new(&handle, tail));
        // Before anybody can ask or write: names have their owner from the start.
        let fed = following.map(|following| Fed::start(following, handle.clone()));
        let access = Carriers::start(options.access.lines, control.table.clone())
            .map_err(failed("open the access log"))?;
        let address = options.http.local_addr();
        let deed = format!("serve HTTP on {address:?}");
        let served = Served {
            table: control.table.clone(),
            access: access.access().clone(),
            engine: options.engine,
        };
        let listeners = Listeners::start(options.http, more_http, options.threads, served)
            .map_err(failed(deed))?;
        let admin = Admin {
            control: control.clone(),
            open: listeners.open(),
            tcp: tcp_control.clone(),
            access: access.access().clone(),
            token: options.token,
        };
        let management = options.admin.map(|listener| Management {
            listener: Arc::new(listener),
            admin: Arc::new(admin),
            server: None,
        });
        let me = Arc::downgrade(&control);
        let waits = former.is_some();
        let mut balancer = Balancer {
            listeners,
            access,
            management,
            tasks: [
                tokio::spawn(Control::beat(me.clone(), options.check_interval)),
                tokio::spawn(Control::run(me)),
            ],
            handle,
            tcp,
            fed,
            data_dir: options.data_dir,
            former,
        };
        if !waits {
            balancer.answer()?;
            balancer.begin();
        }
        Ok(balancer)
    }

    /// The management interfaces are answered from now on.
    fn answer(&mut self) -> Result<(), StartError> {
        if let Some(tcp) = &mut self.tcp {
            tcp.answer()?;
        }
        match &mut self.management {
            Some(management) => management.answer(),
            None => Ok(()),
        }
    }

    fn begin(&mut self) {
        self.listeners.begin();
        if let Some(tcp) = &self.tcp {
            tcp.begin();
        }
    }

    /// The process before this one accepts no longer: this one does. Until here everything was ready, and nothing accepted.
    pub fn accept(&mut self) {
        self.begin();
        if let Err(error) = self.answer() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a management interface is not answered"
            );
        }
    }

    /// A door into it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops accepting, lets open requests finish for at most `grace`, writes down what is left, ends.
    pub async fn shutdown(self, grace: Duration) {
        let tcp = async {
            if let Some(tcp) = self.tcp {
                tcp.shutdown(grace).await;
            }
        };
        let fed = async {
            if let Some(fed) = self.fed {
                fed.shutdown().await;
            }
        };
        tokio::join!(self.listeners.shutdown(grace), tcp, fed);
        if let Some(admin) = self.management.and_then(|management| management.server) {
            admin.shutdown(grace.min(ADMIN_GRACE)).await;
        }
        self.access.shutdown().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        close(&self.handle.control, Control::close).await;
        tracing::info!("balancer stopped");
    }

    /// Everything that is listened on.
    pub fn sockets(&self) -> Vec<Listening> {
        self.listening()()
    }

    /// What answers [`Balancer::sockets`] later on, too.
    pub fn listening(&self) -> impl Fn() -> Vec<Listening> + Send + Sync + use<> {
        let mut fixed = self.listeners.sockets().to_vec();
        let management = self.management.iter();
        fixed.extend(management.map(|m| Listening::new(SocketName::Admin, m.listener.clone())));
        fixed.extend(self.tcp.as_ref().and_then(Tcp::framed));
        let tcp = self.handle.tcp.clone();
        move || {
            let doors = tcp.as_ref().and_then(|control| control.doors());
            let ports = doors.map(|doors| doors.sockets()).unwrap_or_default();
            fixed.iter().cloned().chain(ports).collect()
        }
    }

    /// Bumped when a TCP port was opened or closed.
    pub fn ports_changed(&self) -> watch::Receiver<u64> {
        let tcp = self.handle.tcp.as_ref();
        let doors = tcp.and_then(|control| control.doors());
        doors.map_or_else(|| watch::channel(0).1, |doors| doors.opened.subscribe())
    }

    /// What probes know.
    pub fn known(&self) -> Known {
        let control = &self.handle.control;
        let tcp = self.handle.tcp.as_ref();
        let mut known = Known {
            http: control.known_peers(),
            tcp: tcp.map(|tcp| tcp.known_peers()).unwrap_or_default(),
            locals: Vec::new(),
        };
        control.known_locals(&mut known);
        known
    }

    /// The way to the process before this one, which is to be carried from now on; dropping it says that that one has ended.
    pub fn former(&mut self) -> Option<FormerLink> {
        self.former.take()
    }

    /// Takes no more changes, from nobody, and has written down those there were. Requests and sessions go on, and new ones come.
    pub async fn hold(&mut self) {
        if let Some(fed) = self.fed.take() {
            fed.leave();
        }
        let server = self.management.as_mut().and_then(|m| m.server.take());
        if let Some(server) = server {
            server.shutdown(ADMIN_GRACE).await;
        }
        if let Some(tcp) = &mut self.tcp {
            tcp.hold().await;
        }
        close(&self.handle.control, Control::hold).await;
    }

    /// After [`Balancer::hold`]: goes on as before.
    ///
    /// # Errors
    /// The data directory cannot be used any more. Requests and sessions go on all the same.
    pub fn resume(&mut self, following: Option<Following>) -> Result<(), StartError> {
        resume(&self.handle.control, &self.data_dir)?;
        if let Some(tcp) = &mut self.tcp {
            tcp.resume(&self.data_dir)?;
        }
        self.fed = following.map(|following| Fed::start(following, self.handle.clone()));
        self.answer()
    }

    /// After [`Balancer::hold`], when the same sockets are held elsewhere: accepts nothing more, lets what is open finish for at most
    /// `grace`, and connections be idle for at most `idle`, ends. What is still open is in [`Handle::tail`] until then.
    pub async fn leave(self, grace: Duration, idle: Duration) {
        let tcp = async {
            if let Some(tcp) = self.tcp {
                tcp.leave(grace).await;
            }
        };
        drop(self.management);
        tokio::join!(self.listeners.leave(grace, idle), tcp);
        self.access.shutdown().await;
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Closes or holds what a control writes, which may wait for the disk.
pub(crate) async fn close(control: &Arc<Control>, how: fn(&Control)) {
    let control = control.clone();
    if tokio::task::spawn_blocking(move || how(&control))
        .await
        .is_err()
    {
        tracing::error!("could not close the last known good documents");
    }
}

/// Access records go to this collector, as if it had been in the documents from the beginning.
fn collect(control: &Control, collector: Option<(String, u16)>) {
    let Some((host, port)) = collector else {
        return;
    };
    let server = upstream::Server {
        host,
        port,
        ..upstream::Server::default()
    };
    let doc = UpstreamDoc {
        cluster: vec![Level {
            servers: vec![server],
            ..Level::default()
        }],
        ..UpstreamDoc::default()
    };
    control.built_in(LOGGER, Arc::new(doc));
}

/// Serves what was last known good, and writes down what is applied from now on.
pub(crate) fn restore(
    control: &Arc<Control>,
    folder: &Path,
    known: Verdicts,
) -> Result<(), StartError> {
    let log = open(folder)?;
    control.restore(log.documents(), known);
    control.record(writer(control, log)?);
    Ok(())
}

/// After a hold: goes on writing down what is applied.
pub(crate) fn resume(control: &Arc<Control>, folder: &Path) -> Result<(), StartError> {
    let log = open(folder)?;
    control.resume(writer(control, log)?);
    Ok(())
}

fn open(folder: &Path) -> Result<Log, StartError> {
    Log::open(folder).map_err(failed(format!(
        "use {} for last known good documents",
        folder.display()
    )))
}

fn writer(control: &Arc<Control>, log: Log) -> Result<Writer, StartError> {
    let told = Arc::downgrade(control);
    let durable = move |name: &str, sequence| {
        if let Some(control) = told.upgrade() {
            control.durable(name, sequence);
        }
    };
    Writer::start(log, durable).map_err(failed(
        "start the thread that writes last known good documents",
    ))
}

pub(crate) fn failed(deed: impl Into<String>) -> impl FnOnce(std::io::Error) -> StartError {
    let deed = deed.into();
    move |source| StartError::Io { deed, source }
}

/// What one service carried since the balancer started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests answered or given up, or TCP connections taken.
    pub requests: u64,
    /// Of these, answered with a status from 500 on, or not at all.
    pub errors: u64,
    /// Milliseconds from requests to the ends of their answers, all together.
    pub total_ms: u64,
    /// Addresses of peers whose verdict is bad now.
    pub failing: BTreeSet<String>,
}

fn counts(control: &Control) -> BTreeMap<String, Counts> {
    let each = control.table.all().into_iter();
    each.map(|service| (service.name.to_string(), count(&service)))
        .collect()
}

/// Either kind of counter stands still where it is not the service's.
fn count(service: &Service) -> Counts {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (http, tcp) = (&service.stats.traffic, &service.stats.tcp);
    let view = service.load();
    let entries = view.view.entries().iter();
    let bad = entries.filter(|e| e.peer.verdict() == Verdict::Err);
    let unserved = load(&tcp.unserved);
    Counts {
        requests: http.answers.iter().map(load).sum::<u64>() + load(&tcp.sessions) + unserved,
        errors: load(&http.answers[0]) + load(&http.answers[5]) + unserved + load(&tcp.broken),
        total_ms: load(&http.total_ms),
        failing: bad.map(|e| e.peer.key().to_string()).collect(),
    }
}

/// A door into a running balancer; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    control: Arc<Control>,
    tcp: Option<Arc<Control>>,
}

impl Handle {
    /// Of both sides.
    pub(crate) fn controls(&self) -> impl Iterator<Item = &Arc<Control>> {
        std::iter::once(&self.control).chain(&self.tcp)
    }

    /// One change of one service, from a registry watcher. None: really deleted.
    ///
    /// # Errors
    /// The document is wrong; the last good one stays.
    pub fn apply(&self, name: &str, doc: Option<Arc<UpstreamDoc>>) -> Result<(), ApplyError> {
        self.control.apply(name, doc)
    }

    /// The same for a TCP service: its name is the port it is served on.
    ///
    /// # Errors
    /// The document is wrong or this balancer may not open its port; the last good one stays. Or the port cannot be opened now: the
    /// document is applied, and the port tried again.
    pub fn apply_tcp(&self, name: &str, doc: Option<Arc<UpstreamDoc>>) -> Result<(), ApplyError> {
        match &self.tcp {
            Some(tcp) => tcp.apply(name, doc),
            None => Err(ApplyError::Invalid {
                name: name.to_owned(),
                problem: "this balancer serves no TCP services".to_owned(),
            }),
        }
    }

    /// [`Handle::services`] of TCP services.
    pub fn tcp_services(&self) -> BTreeMap<String, ServiceReport> {
        let tcp = self.tcp.as_ref();
        tcp.map(|tcp| tcp::services(tcp)).unwrap_or_default()
    }

    /// [`Handle::names`] of TCP services.
    pub fn tcp_names(&self) -> Vec<String> {
        let tcp = self.tcp.as_ref();
        tcp.map(|tcp| tcp.owned_names()).unwrap_or_default()
    }

    /// Which instances of this node are to be judged for readiness; replaces the whole set. Each is probed here once, and the same verdict
    /// feeds routing on this node. An entry that stays the same keeps its verdict.
    pub fn watch_local(&self, instances: BTreeMap<InstanceId, LocalInstance>) {
        self.control.watch_local(instances);
    }

    /// Who runs the commands of checks inside local instances from now on; until somebody does, such instances are not judged.
    pub fn run_checks_by(&self, inside: Arc<dyn Inside>) {
        self.control.run_checks_by(inside);
    }

    /// The verdicts on local instances; absent while not judged yet.
    pub fn readiness(&self) -> BTreeMap<InstanceId, Condition> {
        self.control.readiness()
    }

    /// What every service carried since the start, and which of its peers are bad.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        counts(&self.control)
    }

    /// [`Handle::counts`] of TCP services.
    pub fn tcp_counts(&self) -> BTreeMap<String, Counts> {
        let tcp = self.tcp.as_ref();
        tcp.map(|tcp| counts(tcp)).unwrap_or_default()
    }

    /// What is served, refused and still draining, per service of a master's documents.
    pub fn services(&self) -> BTreeMap<String, ServiceReport> {
        self.control.services()
    }

    /// Bumped whenever [`Handle::readiness`] or [`Handle::services`] would answer something else; counts of open requests only when one
    /// reaches zero.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.control.subscribe()
    }

    pub(crate) fn bump(&self) {
        self.control.bump();
    }

    /// Another process serves from now on: this one follows it.
    pub fn relieve(&self) {
        self.controls().for_each(|control| control.relieve());
    }

    /// The process that took over switched to these.
    pub fn follow(&self, changes: Vec<Change>) {
        for change in changes {
            match (change.over_tcp, &self.tcp) {
                (false, _) => self.control.follow_change(change),
                (true, Some(tcp)) => tcp.follow_change(change),
                (true, None) => {}
            }
        }
    }

    /// What is still open here, for the process that took over.
    pub fn tail(&self) -> Tail {
        let tcp = self.tcp.as_ref();
        Tail {
            http: self.control.tail(),
            tcp: tcp.map(|tcp| tcp.tail()).unwrap_or_default(),
        }
    }

    /// Ends all sessions: upgraded streams and TCP connections. Requests go on.
    pub fn end_sessions(&self) {
        self.controls().for_each(|control| control.end_sessions());
    }

    /// The document of an HTTP service that is served, or waits to be. None: there is no such service.
    pub fn document(&self, name: &str) -> Option<Arc<UpstreamDoc>> {
        self.control.document(name)
    }

    /// Names of all services that were written by a master, as far as this balancer knows.
    pub fn names(&self) -> Vec<String> {
        self.control.owned_names()
    }
}
