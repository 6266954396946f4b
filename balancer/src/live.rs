//! What requests look up: names to services, each service's view swapped whole. One writer (control), many readers, no lock.
//!
//! Two levels, so that a change costs what it changes: a new document swaps one service's view; only a new or deleted name copies a
//! shard of the map.

mod place;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hyper::http::HeaderValue;

use hancock_balancer_core::settings::Route;
use hancock_balancer_core::table::View;

use crate::control::now;
use crate::http::Dial;
use crate::meter::{Meter, Traffic};
use place::Place;

const SHARDS: usize = 256;
/// Names that are never reached from outside: the original kept its configuration store and its log collector under them.
const INTERNAL: [&str; 2] = ["store", "logger"];

type Shard = HashMap<Arc<str>, Place>;

/// All services by name.
pub(crate) struct Table {
    hasher: RandomState,
    shards: Box<[ArcSwap<Shard>]>,
    /// Answers to hosts nobody serves.
    pub(crate) unknown: AtomicU64,
    /// What is counted beside services.
    pub(crate) meter: Meter,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            unknown: AtomicU64::new(0),
            meter: Meter::default(),
        }
    }

    fn shard(&self, name: &str) -> &ArcSwap<Shard> {
        let hash = self.hasher.hash_one(name);
        &self.shards[hash as usize % SHARDS]
    }

    /// The service called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Service>> {
        self.shard(name).load().get(name)?.service.clone()
    }

    /// The service that requests for `target` on `host` go to: the one under the longest path that holds the target, else the one of that
    /// name. Services the balancer itself needs are nobody else's.
    pub(crate) fn routed(&self, host: &str, target: &[u8]) -> Option<Arc<Service>> {
        if INTERNAL.contains(&host) {
            return None;
        }
        self.shard(host).load().get(host)?.routed(target).cloned()
    }

    /// The service that is reached under a route.
    pub(crate) fn holder(&self, route: &Route) -> Option<Arc<str>> {
        let shard = self.shard(&route.host).load();
        shard.get(&*route.host)?.holder(&route.prefix).cloned()
    }

    /// Adds a service. Only control calls it, under its lock.
    pub(crate) fn insert(&self, service: Arc<Service>) {
        let name = service.name.clone();
        let moved = name.contains('/');
        self.change(name, |place| {
            place.service = Some(service);
            // Names with a path are nobody's host.
            place.moved(moved);
        });
    }

    /// Takes a service out. Only control calls it, under its lock.
    pub(crate) fn remove(&self, name: &str) {
        self.change(name.into(), |place| place.service = None);
    }

    /// A service is reached under `to` from now on, None: under its name; and no longer under `from`. Only control calls it, under its
    /// lock. `owned`: by a master.
    pub(crate) fn reroute(
        &self,
        service: &Arc<Service>,
        from: Option<&Route>,
        to: Option<&Route>,
        owned: bool,
    ) {
        if let Some(to) = to {
            self.change((&*to.host).into(), |place| place.add(to, owned, service));
        }
        if let Some(from) = from {
            self.change((&*from.host).into(), |place| {
                place.remove(from, &service.name)
            });
        }
        if from.is_some() != to.is_some() {
            self.change(service.name.clone(), |place| place.moved(to.is_some()));
        }
    }

    fn change(&self, word: Arc<str>, change: impl FnOnce(&mut Place)) {
        let shard = self.shard(&word);
        let mut next = Shard::clone(&shard.load());
        let mut place = next.remove(&word).unwrap_or_default();
        change(&mut place);
        if !place.is_empty() {
            next.insert(word, place);
        }
        shard.store(Arc::new(next));
    }

    /// All services, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Service>> {
        let shards = self.shards.iter().map(|s| s.load_full());
        shards
            .flat_map(|s| {
                s.values()
                    .filter_map(|p| p.service.clone())
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

/// One service as requests see it.
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    view: ArcSwap<LiveView>,
    pub(crate) stats: Stats,
}

/// A view and how each of its entries is dialled.
#[derive(Debug)]
pub(crate) struct LiveView {
    pub(crate) view: View,
    pub(crate) dials: Vec<Arc<Dial>>,
    /// What origins are sent as `Host`.
    pub(crate) host: HeaderValue,
}

impl LiveView {
    pub(crate) fn empty() -> Self {
        Self {
            view: View::empty(),
            dials: Vec::new(),
            host: HeaderValue::from_static("-"),
        }
    }
}

impl Service {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            view: ArcSwap::from_pointee(LiveView::empty()),
            stats: Stats::default(),
        }
    }

    /// Begins a routing phase: it lasts as long as the caller holds what it got.
    pub(crate) fn load(&self) -> Arc<LiveView> {
        self.view.load_full()
    }

    /// Routes by `next` from now on; answers the former view, which running phases may still hold.
    pub(crate) fn swap(&self, next: LiveView) -> Arc<LiveView> {
        self.stats.swaps.fetch_add(1, Ordering::Relaxed);
        self.stats
            .index
            .store(next.view.index().0, Ordering::Relaxed);
        self.stats.swapped_ms.store(now().0, Ordering::Relaxed);
        self.view.swap(Arc::new(next))
    }
}

/// Counters of one service.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Of requests.
    pub(crate) traffic: Traffic,
    pub(crate) retries: AtomicU64,
    /// Peers that failed requests banned.
    pub(crate) bans: AtomicU64,
    pub(crate) swaps: AtomicU64,
    /// The document's, as of the last swap.
    pub(crate) index: AtomicU64,
    /// When that was; 0: never.
    pub(crate) swapped_ms: AtomicU64,
    pub(crate) probes_good: AtomicU64,
    pub(crate) probes_bad: AtomicU64,
    /// Of TCP services only.
    pub(crate) tcp: crate::tcp::Counters,
}

impl Stats {
    /// A probe ended.
    pub(crate) fn probed(&self, good: bool) {
        let counter = if good {
            &self.probes_good
        } else {
            &self.probes_bad
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_and_go() {
        let table = Table::new();
        for n in 0..1000 {
            table.insert(Arc::new(Service::new(&format!("s{n}.example"))));
        }
        assert!(table.find("s7.example").is_some() && table.find("s1000.example").is_none());
        table.remove("s7.example");
        assert!(table.find("s7.example").is_none());
        assert_eq!(table.all().len(), 999);
    }
}
