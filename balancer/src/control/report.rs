//! What control tells: readiness, services, and the lines of the status document.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_balancer_core::health::PeerHealth;
use hancock_balancer_core::peer::{Peer, Verdict};
use hancock_balancer_core::upstream::{Mode, PeerSpec, ProbeKind, Upstream};
use hancock_proto::ids::{AppName, DocIndex, InstanceId};
use hancock_proto::report::{Condition, ServiceReport};
use hancock_proto::time::Timestamp;
use hancock_proto::upstream::UpstreamDoc;

use super::service::ServiceState;
use super::{Control, Inner};
use crate::fed::Unsettled;
use crate::probe::RedisFacts;

/// Everything the status document shows.
pub(crate) struct Overview {
    pub(crate) version: u64,
    pub(crate) last_check: Option<Timestamp>,
    pub(crate) services: BTreeMap<String, ServiceLines>,
}

/// One service of it.
pub(crate) struct ServiceLines {
    /// How a peer is chosen.
    pub(crate) mode: Mode,
    /// With their names, where the document gives any.
    pub(crate) levels: Vec<(Option<String>, Vec<PeerLine>)>,
    pub(crate) checked: bool,
    /// Checked as redis servers.
    pub(crate) redis: bool,
    /// None: not written by a master.
    pub(crate) report: Option<ServiceReport>,
}

/// One peer of it.
pub(crate) struct PeerLine {
    pub(crate) spec: PeerSpec,
    /// As the document gives them.
    pub(crate) max_fails: Option<u32>,
    pub(crate) fail_timeout: Option<f64>,
    /// Added and not passed yet.
    pub(crate) warming: bool,
    pub(crate) verdict: Verdict,
    /// None: never probed.
    pub(crate) health: Option<PeerHealth>,
    pub(crate) open: (u64, u64),
    /// What a redis server said of itself, when last probed.
    pub(crate) redis: Option<RedisFacts>,
}

impl Control {
    pub(crate) fn readiness(&self) -> BTreeMap<InstanceId, Condition> {
        let inner = self.lock();
        let judged = inner.locals.iter();
        judged
            .filter_map(|(id, l)| Some((id.clone(), l.condition.clone()?)))
            .collect()
    }

    /// Services of a master's documents, and what is left of deleted ones.
    pub(crate) fn services(&self) -> BTreeMap<String, ServiceReport> {
        let mut inner = self.lock();
        let services = inner.services.iter_mut();
        let mut reports = services
            .filter_map(|(name, s)| Some((name.clone(), s.report()?)))
            .collect();
        inner.rejected.report(&mut reports);
        self.formers.merge(&mut reports);
        reports
    }

    /// What is not settled yet. Services that are do not cost more than a look.
    pub(crate) fn unsettled(&self) -> Unsettled {
        let mut inner = self.lock();
        let Inner {
            services, active, ..
        } = &mut *inner;
        let held = self.formers.names();
        let (mut unwritten, mut index, mut open) = (0, DocIndex(0), BTreeMap::new());
        for (name, state) in services {
            let ours = state.owner().is_some();
            unwritten += usize::from(!ours && state.writing.is_some());
            index = index.max(state.confirmed).max(state.cutover.seen());
            if !state.is_at_rest() || active.contains(name) || held.contains(name) {
                open.extend(state.report().map(|report| (name.clone(), report)));
            }
        }
        inner.rejected.report(&mut open);
        self.formers.merge(&mut open);
        open.retain(|_, report| report.is_open());
        (unwritten, index, open)
    }

    /// Names a master owns.
    pub(crate) fn owned_names(&self) -> Vec<String> {
        let inner = self.lock();
        let owned = inner.services.iter().filter(|(_, s)| s.owner().is_some());
        owned.map(|(name, _)| name.clone()).collect()
    }

    /// The app that owns a name.
    pub(crate) fn owner(&self, name: &str) -> Option<AppName> {
        self.lock().services.get(name).and_then(ServiceState::owner)
    }

    /// The newest document of a name that was not refused.
    pub(crate) fn document(&self, name: &str) -> Option<Arc<UpstreamDoc>> {
        self.lock()
            .services
            .get(name)?
            .newest()
            .map(|up| up.doc.clone())
    }

    /// All of them.
    pub(crate) fn documents(&self) -> BTreeMap<String, Arc<UpstreamDoc>> {
        let inner = self.lock();
        let all = inner.services.iter();
        all.filter_map(|(name, s)| Some((name.clone(), s.newest()?.doc.clone())))
            .collect()
    }

    pub(crate) fn overview(&self) -> Overview {
        let mut inner = self.lock();
        Overview {
            version: inner.version,
            last_check: inner.last_check,
            services: inner.lines(),
        }
    }
}

impl Inner {
    fn lines(&mut self) -> BTreeMap<String, ServiceLines> {
        let shown = self.services.iter_mut().filter(|(_, s)| !s.deleted);
        shown
            .filter_map(|(name, s)| Some((name.clone(), s.lines()?)))
            .collect()
    }
}

impl ServiceState {
    fn owner(&self) -> Option<AppName> {
        let handover = self.newest()?.handover.as_ref();
        handover.map(|h| h.app.clone())
    }

    fn newest(&self) -> Option<&Arc<Upstream>> {
        self.cutover.waiting().or(self.cutover.serving())
    }

    /// A master's document is served and on disk, and nothing drains.
    fn is_at_rest(&self) -> bool {
        let settled = self.cutover.seen() <= self.confirmed && self.cutover.refused().is_none();
        settled && self.draining.is_empty()
    }

    /// None: not a master's.
    fn report(&mut self) -> Option<ServiceReport> {
        let refused = self.cutover.refused().cloned();
        let forgotten = self.deleted && self.writing.is_none();
        let ours = self.owner().is_some() || refused.is_some() || !self.draining.is_empty();
        let ours = ours || (!forgotten && self.confirmed > DocIndex(0));
        if !ours {
            return None;
        }
        self.settle();
        Some(ServiceReport {
            seen: self.cutover.seen().max(self.confirmed),
            confirmed: self.confirmed,
            refused,
            draining: self.draining.clone(),
        })
    }

    fn lines(&mut self) -> Option<ServiceLines> {
        let report = self.report();
        let upstream = self.newest()?.clone();
        let levels = upstream.levels.iter().zip(&upstream.doc.cluster);
        let levels = levels.map(|(specs, level)| {
            let lines = specs.iter().zip(&level.servers);
            let lines = lines.map(|(spec, server)| PeerLine {
                max_fails: server.max_fails,
                fail_timeout: server.fail_timeout,
                ..self.line(spec)
            });
            (level.name.clone(), lines.collect())
        });
        Some(ServiceLines {
            mode: upstream.mode,
            levels: levels.collect(),
            checked: upstream.checks.enabled,
            redis: upstream.checks.probe == ProbeKind::Redis,
            report,
        })
    }

    fn line(&self, spec: &PeerSpec) -> PeerLine {
        let peer = self.peers.get(&spec.key);
        let wanted = self
            .cutover
            .to_probe()
            .map(|(_, wanted)| wanted)
            .unwrap_or_default();
        PeerLine {
            spec: spec.clone(),
            max_fails: None,
            fail_timeout: None,
            warming: spec
                .key
                .instance
                .as_ref()
                .is_some_and(|i| wanted.contains(i)),
            verdict: peer.map_or(Verdict::Ok, |p| p.verdict()),
            health: self.health.get(&spec.key).cloned(),
            open: peer.map_or((0, 0), |p: &Arc<Peer>| p.open()),
            redis: self.redis.get(&spec.key).cloned().flatten(),
        }
    }
}
