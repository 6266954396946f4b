//! Where a feed stands, for whoever asks: how old what is served may be, and whose it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hancock_proto::ids::Revision;
use hancock_proto::registry::Listing;
use hancock_proto::service::ServiceName;
use hancock_proto::time::{Clock, SystemClock, Timestamp};
use serde::Serialize;
use tokio::sync::watch;

/// Refused documents remembered. Full: others are refused all the same, and only counted.
const MAX_REFUSED: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Standing {
    source: String,
    /// Everything up to here was applied.
    position: watch::Sender<Option<Revision>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    connected: bool,
    heard: Option<Timestamp>,
    error: Option<String>,
    /// The watch said so: list before anything else.
    behind: bool,
    lists: u64,
    applied: u64,
    errors: u64,
    rejections: u64,
    orphaned: usize,
    /// What is stored is no document.
    damaged: BTreeMap<ServiceName, String>,
    /// It is one, and cannot be served.
    refused: BTreeMap<ServiceName, String>,
    owned: BTreeSet<ServiceName>,
}

/// What is shown of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// Which registry.
    pub source: String,
    /// Whether it answers.
    pub connected: bool,
    /// Everything up to here was applied. None: nothing was heard since the start.
    pub revision: Option<Revision>,
    /// Milliseconds since it was last heard of. None: not since the start.
    pub age_ms: Option<u64>,
    /// Why it does not answer.
    pub error: Option<String>,
    /// Names whose documents are its.
    pub services: usize,
    /// Names kept although its last list lacks them, because that list proves nothing.
    pub orphaned: usize,
    /// Names whose newest document is not served, and why; so many at most.
    pub refused: BTreeMap<ServiceName, String>,
    /// Documents refused since the start.
    pub rejections: u64,
    /// Times everything was listed.
    pub lists: u64,
    /// Documents handed on to be served.
    pub applied: u64,
    /// Times it did not answer.
    pub errors: u64,
}

impl Standing {
    pub(super) fn new(source: &str, owned: BTreeSet<ServiceName>) -> Self {
        let inner = Inner {
            owned,
            ..Inner::default()
        };
        Self {
            source: source.to_owned(),
            position: watch::Sender::new(None),
            inner: Mutex::new(inner),
        }
    }

    /// What is shown.
    pub fn view(&self) -> View {
        let inner = self.lock();
        let age = inner.heard.map(|at| SystemClock.now().since(at));
        View {
            source: self.source.clone(),
            connected: inner.connected,
            revision: *self.position.borrow(),
            age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            error: inner.error.clone(),
            services: inner.owned.len(),
            orphaned: inner.orphaned,
            refused: inner.unserved(),
            rejections: inner.rejections,
            lists: inner.lists,
            applied: inner.applied,
            errors: inner.errors,
        }
    }

    /// The registry, when the name is one of its.
    pub fn owner(&self, name: &ServiceName) -> Option<&str> {
        self.lock()
            .owned
            .contains(name)
            .then_some(self.source.as_str())
    }

    pub(super) fn position(&self) -> watch::Receiver<Option<Revision>> {
        self.position.subscribe()
    }

    /// Everything up to `revision` was applied.
    pub(super) fn heard(&self, revision: Revision) {
        let mut inner = self.lock();
        (inner.connected, inner.error) = (true, None);
        inner.heard = Some(SystemClock.now());
        drop(inner);
        self.position.send_if_modified(|at| {
            let before = at.replace(revision);
            before != Some(revision)
        });
    }

    pub(super) fn broken(&self, reason: &str) {
        let mut inner = self.lock();
        if !inner.behind {
            inner.errors += 1;
            inner.connected = false;
            inner.error = Some(reason.to_owned());
        }
    }

    pub(super) fn fell_behind(&self) {
        self.lock().behind = true;
    }

    pub(super) fn is_behind(&self) -> bool {
        self.lock().behind
    }

    pub(super) fn listed(&self, listing: &Listing, orphaned: usize) {
        let mut inner = self.lock();
        inner.behind = false;
        inner.lists += 1;
        inner.orphaned = orphaned;
        inner.damaged.clear();
        inner
            .refused
            .retain(|name, _| listing.entries.contains_key(name));
        drop(inner);
        for (name, problem) in &listing.damaged {
            self.damaged(name.clone(), problem.clone());
        }
    }

    pub(super) fn applied(&self, name: &ServiceName) {
        let mut inner = self.lock();
        inner.applied += 1;
        inner.refused.remove(name);
    }

    /// What is stored under the name is a document again, or gone.
    pub(super) fn good(&self, name: &ServiceName) {
        self.lock().damaged.remove(name);
    }

    /// What is stored under the name is no document.
    pub(super) fn damaged(&self, name: ServiceName, problem: String) {
        let mut inner = self.lock();
        inner.rejections += 1;
        remember(&mut inner.damaged, name, problem);
    }

    /// A document cannot be served.
    pub(super) fn refused(&self, name: ServiceName, problem: String) {
        let mut inner = self.lock();
        inner.rejections += 1;
        remember(&mut inner.refused, name, problem);
    }

    /// Whether any of them was not owned before.
    pub(super) fn own<'a>(&self, names: impl Iterator<Item = &'a ServiceName>) -> bool {
        let mut inner = self.lock();
        let before = inner.owned.len();
        inner.owned.extend(names.cloned());
        inner.owned.len() > before
    }

    pub(super) fn disown(&self, name: &ServiceName) {
        self.lock().owned.remove(name);
    }

    pub(super) fn owned(&self) -> BTreeSet<ServiceName> {
        self.lock().owned.clone()
    }

    // Every change of it is whole: a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn unserved(&self) -> BTreeMap<ServiceName, String> {
        let both = self.refused.iter().chain(&self.damaged);
        both.map(|(name, problem)| (name.clone(), problem.clone()))
            .collect()
    }
}

fn remember(problems: &mut BTreeMap<ServiceName, String>, name: ServiceName, problem: String) {
    if problems.len() < MAX_REFUSED || problems.contains_key(&name) {
        problems.insert(name, problem);
    }
}
