//! The door for the rest of the process: apply, ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hancock_balancer_core::peer::Verdict;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::{Condition, ServiceReport};
use hancock_proto::upstream::UpstreamDoc;
use tokio::sync::watch;

use crate::control::Control;
use crate::handover::{Change, Found, Tail};
use crate::live::Service;
use crate::local::LocalInstance;
use crate::probe::Inside;
use crate::tcp;

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
    pub(crate) control: Arc<Control>,
    pub(crate) tcp: Option<Arc<Control>>,
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

    /// What a process is told that follows one that is gone: it has followed nothing of this one's yet.
    pub fn found(&self) -> Found {
        let (http, names) = self.control.found();
        let tcp = self.tcp.as_ref().map(|tcp| tcp.found());
        let (tcp, tcp_names) = tcp.unwrap_or_default();
        Found {
            tail: Tail { http, tcp },
            names: [names, tcp_names],
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
