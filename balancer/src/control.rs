//! The balancer's one writer: takes documents and probe results in, asks the core, swaps views, keeps what is reported.
//!
//! Everything lives under one short lock that is never held across an await; requests never take it.

mod handover;
mod local;
mod past;
mod rejected;
mod report;
mod service;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime;
use tokio::sync::{Notify, watch};

use hancock_balancer_core::health::ProbeResult;
use hancock_balancer_core::upstream::{InvalidUpstream, PeerKey, Upstream};
use hancock_proto::ids::{InstanceId, NodeId};
use hancock_proto::report::Condition;
use hancock_proto::time::{Clock, SystemClock, Timestamp};
use hancock_proto::upstream::UpstreamDoc;
use hancock_registry::feed::Standing;

use crate::handle::ApplyError;
use crate::handover::{Formers, Verdicts};
use crate::lastgood::{Documents, Writer};
use crate::live::Table;
use crate::local::LocalInstance;
use crate::probe::{Answer, Inside, Prober, RedisFacts};
use crate::tcp::Doors;

pub(crate) use rejected::refusal;
pub(crate) use report::{PeerLine, ServiceLines};

use handover::Recording;
use local::{Judged, Local};
use past::Past;
use rejected::Rejected;
use service::ServiceState;

/// What the process before this one judged counts so long after the start.
const HANDED: Duration = Duration::from_secs(30);
/// How often open drains and deadlines are looked at.
const TURN: Duration = Duration::from_millis(25);

/// See the module.
pub(crate) struct Control {
    pub(crate) node: NodeId,
    pub(crate) table: Arc<Table>,
    pub(crate) prober: Arc<dyn Prober>,
    pub(crate) check_interval: Duration,
    pub(crate) started: Timestamp,
    /// For tasks that look after this very value.
    me: Weak<Control>,
    runtime: runtime::Handle,
    changed: watch::Sender<u64>,
    /// Of the TCP side only: documents open and close ports. Set once, before the first change.
    doors: OnceLock<Arc<Doors>>,
    /// Told what this control judges, so that an instance is probed once for both sides.
    follower: OnceLock<Arc<Control>>,
    /// Tells the follower one thing after the other.
    telling: Mutex<()>,
    pub(crate) over_tcp: bool,
    /// The registry some names are of, where this balancer follows one by itself.
    pub(crate) standing: ArcSwapOption<Standing>,
    /// Where switches are written down; from right after the documents were restored.
    recording: Mutex<Recording>,
    /// Processes before this one that have not ended yet.
    pub(crate) formers: Formers,
    /// When this process was relieved: the number of the last change of the next one that it follows.
    followed: AtomicU64,
    /// The same, as the next one was told last.
    told: AtomicU64,
    /// Something became active.
    wake: Arc<Notify>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    services: BTreeMap<String, ServiceState>,
    /// Services with a deadline or a drain: the only ones looked at in turns.
    active: BTreeSet<String>,
    locals: BTreeMap<InstanceId, Local>,
    /// Runs commands of checks; None: nobody can, so far.
    inside: Option<Arc<dyn Inside>>,
    /// What the process before this one judged, until it is judged here.
    handed: BTreeMap<InstanceId, (LocalInstance, Condition)>,
    /// What was known of the peers of deleted services.
    past: Past,
    rejected: Rejected,
    /// Counts accepted changes.
    version: u64,
    last_check: Option<Timestamp>,
    /// Distinguishes probing tasks from their predecessors.
    generation: u64,
}

/// What a control is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) node: NodeId,
    pub(crate) prober: Arc<dyn Prober>,
    pub(crate) check_interval: Duration,
    /// Serves TCP connections, not HTTP requests.
    pub(crate) over_tcp: bool,
    /// Bumped when a report would say something else.
    pub(crate) changed: watch::Sender<u64>,
}

impl Control {
    /// A control that serves nothing yet. Its tasks run on the current runtime.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            node: parts.node,
            table: Arc::new(Table::new()),
            prober: parts.prober,
            check_interval: parts.check_interval,
            started: now(),
            me: me.clone(),
            runtime: runtime::Handle::current(),
            changed: parts.changed,
            doors: OnceLock::new(),
            follower: OnceLock::new(),
            telling: Mutex::default(),
            over_tcp: parts.over_tcp,
            standing: ArcSwapOption::empty(),
            recording: Mutex::default(),
            formers: Formers::default(),
            followed: AtomicU64::new(0),
            told: AtomicU64::new(0),
            wake: Arc::default(),
            inner: Mutex::default(),
        })
    }

    /// Serves what was last known good, before anything else happens. `known` is what the process before this one knew of peers.
    pub(crate) fn restore(&self, documents: &Documents, mut known: Verdicts) {
        let mut inner = self.lock();
        for (name, doc) in documents {
            self.begin(&mut inner, name, doc, &mut known);
        }
        tracing::info!(
            services = inner.services.len(),
            "serving the last known good documents"
        );
    }

    /// Serves a document of this balancer's own options: it counts as no change, and is written down nowhere.
    pub(crate) fn built_in(&self, name: &str, doc: Arc<UpstreamDoc>) {
        self.begin(&mut self.lock(), name, &doc, &mut Verdicts::new());
    }

    fn begin(&self, inner: &mut Inner, name: &str, doc: &Arc<UpstreamDoc>, known: &mut Verdicts) {
        match self.upstream(name, doc.clone()) {
            Ok(upstream) => inner.restore(self, Arc::new(upstream), known),
            Err(problem) => {
                tracing::error!(service = %name, %problem, "a document is not valid any more, left out")
            }
        }
    }

    /// From now on applied documents are written down.
    pub(crate) fn record(&self, writer: Writer) {
        *self.recording() = Recording::Log(Arc::new(writer));
    }

    /// One change of one service.
    pub(crate) fn apply(
        &self,
        name: &str,
        doc: Option<Arc<UpstreamDoc>>,
    ) -> Result<(), ApplyError> {
        let upstream = doc.clone().map(|doc| self.permitted(name, doc));
        let upstream = upstream.transpose().map_err(|problem| {
            tracing::warn!(service = %name, %problem, "refused a document, the last good one stays");
            self.reject(name, doc.as_deref(), &problem);
            ApplyError::Invalid {
                name: name.to_owned(),
                problem,
            }
        })?;
        let mut inner = self.lock();
        inner.rejected.accept(name);
        match upstream {
            Some(upstream) => inner.document(self, Arc::new(upstream), now()),
            None => inner.deleted(self, name),
        }
        drop(inner);
        self.bump();
        let synced = self.doors().map_or(Ok(()), |doors| doors.sync(name));
        synced.map_err(|problem| ApplyError::Closed {
            name: name.to_owned(),
            problem,
        })
    }

    /// A valid upstream of a name that may have one.
    fn permitted(&self, name: &str, doc: Arc<UpstreamDoc>) -> Result<Upstream, String> {
        if let Some(doors) = self.doors() {
            doors.permit(name)?;
        }
        let upstream = self.upstream(name, doc).map_err(|p| p.to_string())?;
        let route = upstream.settings.route.as_ref();
        let holder = route.and_then(|route| self.table.holder(route));
        match holder.filter(|holder| **holder != *name && upstream.handover.is_none()) {
            Some(holder) => Err(format!("proxy.route: leads to upstream {holder} already")),
            None => Ok(upstream),
        }
    }

    fn upstream(&self, name: &str, doc: Arc<UpstreamDoc>) -> Result<Upstream, InvalidUpstream> {
        let upstream = Upstream::new(name, doc)?;
        Ok(if self.over_tcp {
            upstream.over_tcp()
        } else {
            upstream
        })
    }

    /// From now on documents open and close ports.
    pub(crate) fn opens(&self, doors: Arc<Doors>) {
        if self.doors.set(doors).is_err() {
            tracing::error!("the ports of the TCP side were set twice, the first ones stay");
        }
    }

    /// The ports, on the TCP side.
    pub(crate) fn doors(&self) -> Option<&Arc<Doors>> {
        self.doors.get()
    }

    /// From now on `follower` is told what this control judges.
    pub(crate) fn followed_by(&self, follower: Arc<Control>) {
        if self.follower.set(follower).is_err() {
            tracing::error!("the follower of a control was set twice, the first one stays");
        }
    }

    /// What the process before this one judged counts until it is judged here.
    pub(crate) fn handed(&self, locals: Vec<(InstanceId, LocalInstance, Condition)>) {
        let locals = locals.into_iter();
        self.lock().handed = locals.map(|(id, spec, c)| (id, (spec, c))).collect();
    }

    /// What another control judged.
    fn follow(&self, judged: Judged) {
        if self.lock().follow(self, judged) {
            self.bump();
        }
    }

    fn tell_follower(&self) {
        if let Some(follower) = self.follower.get() {
            // Two tellings in a row may cross; so the newest is fetched under the follower's turn.
            let _turn = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
            let judged = self.lock().judged();
            follower.follow(judged);
        }
    }

    /// This balancer's own probe of an added peer ended.
    pub(crate) fn accept_probed(&self, name: &str, instance: &InstanceId, result: ProbeResult) {
        let result = match result {
            ProbeResult::Ok => Ok(()),
            ProbeResult::Failed(reason) => Err(reason.unwrap_or_else(|| "failed".to_owned())),
            ProbeResult::Unstable(reason) => Err(reason),
        };
        let mut inner = self.lock();
        let changed = inner.accept_probed(self, name, instance, result);
        drop(inner);
        if changed {
            self.bump();
        }
    }

    /// One good result of a round, counted at once, with what a redis server said of itself.
    pub(crate) fn round_good(
        &self,
        name: &str,
        generation: u64,
        key: &PeerKey,
        facts: Option<RedisFacts>,
    ) {
        let mut control = self.lock();
        control.round_good(name, generation, key, facts, now());
    }

    /// All results of a round, in list order.
    pub(crate) fn round_done(&self, name: &str, generation: u64, answers: Vec<Answer>) {
        self.lock().round_done(name, generation, answers, now());
    }

    /// A name was resolved.
    pub(crate) fn resolved(&self, name: &str, key: &PeerKey, address: std::net::SocketAddr) {
        self.lock().resolved(name, key, address);
    }

    /// A change is on disk.
    pub(crate) fn durable(&self, name: &str, sequence: u64) {
        if self.lock().durable(name, sequence) {
            self.bump();
        }
    }

    /// Who runs commands of checks.
    pub(crate) fn inside(&self) -> Option<Arc<dyn Inside>> {
        self.lock().inside.clone()
    }

    /// Says who does from now on.
    pub(crate) fn run_checks_by(&self, inside: Arc<dyn Inside>) {
        self.lock().inside = Some(inside);
    }

    /// Replaces the set of judged instances.
    pub(crate) fn watch_local(&self, instances: BTreeMap<InstanceId, LocalInstance>) {
        if self.lock().watch_local(self, instances) {
            self.bump();
        }
        self.tell_follower();
    }

    /// A probe of a judged instance ended. Answers whether it is ready; None: it is no longer judged by the asking task.
    pub(crate) fn local_probed(
        &self,
        instance: &InstanceId,
        generation: u64,
        result: ProbeResult,
    ) -> Option<bool> {
        let (ready, changed) =
            self.lock()
                .local_probed(self, instance, generation, result, now())?;
        if changed {
            self.bump();
            self.tell_follower();
        }
        Some(ready)
    }

    /// A round over everything ends once per interval, even when there was nothing to check.
    pub(crate) async fn beat(me: Weak<Control>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let Some(control) = me.upgrade() else { return };
            control.lock().last_check = Some(now());
        }
    }

    /// Deadlines and drains, looked at in turns while there are any.
    pub(crate) async fn run(me: Weak<Control>) {
        let Some(wake) = me.upgrade().map(|control| control.wake.clone()) else {
            return;
        };
        loop {
            let Some(busy) = me.upgrade().map(|control| control.turn()) else {
                return;
            };
            if busy {
                tokio::time::sleep(TURN).await;
            } else {
                wake.notified().await;
            }
        }
    }

    /// Answers whether there is something to look at again.
    fn turn(&self) -> bool {
        let mut inner = self.lock();
        let changed = inner.turn(self, now());
        let busy = !inner.active.is_empty();
        drop(inner);
        if changed {
            self.bump();
        }
        busy
    }

    /// Ends all probing and writes down what is left.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.locals.clear();
        inner
            .services
            .values_mut()
            .for_each(ServiceState::stop_probing);
        drop(inner);
        // Not under the lock: what is written now is told to somebody who may be waiting for it.
        let writer = match &*self.recording() {
            Recording::Log(writer) => Some(writer.clone()),
            _ => None,
        };
        if let Some(writer) = writer {
            writer.close();
        }
    }

    pub(crate) fn me(&self) -> Weak<Control> {
        self.me.clone()
    }

    pub(crate) fn runtime(&self) -> &runtime::Handle {
        &self.runtime
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn recording(&self) -> MutexGuard<'_, Recording> {
        self.recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bump(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Instances of this node that are ready by this balancer's own probes.
    fn ready(&self) -> BTreeSet<InstanceId> {
        let ready = self.locals.iter().filter(|(_, l)| l.is_ready());
        ready.map(|(id, _)| id.clone()).collect()
    }
}

/// The one place where the time is read.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}
