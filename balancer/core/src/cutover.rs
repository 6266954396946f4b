//! Make before break, for one service: when a new document may take over, and when it is refused.
//!
//! A document that names added peers waits until this balancer's own probe has passed enough of them; until then the old set serves. When
//! the time is over the old set stays and the refusal is final for that index: the master may rely on nobody using it. Documents without
//! our member, and those that add nobody, take over at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::ids::{AppName, DocIndex, InstanceId};
use hancock_proto::report::Refusal;
use hancock_proto::time::Timestamp;

use crate::upstream::{PeerSpec, Upstream};

/// What the shell has to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Route by this set; it confirms nothing.
    Hold(Arc<Upstream>),
    /// Route by this document and write it down; once durable, it is confirmed.
    Switch(Arc<Upstream>),
    /// An added peer passed: it may be picked.
    Passed(InstanceId),
    /// The old set stays; tell why.
    Refused(Refusal),
    /// Route nothing and forget the document.
    Remove,
}

/// One service's hand-over.
#[derive(Debug, Default)]
pub struct Cutover {
    /// Highest index received, of this app.
    seen: DocIndex,
    owner: Option<AppName>,
    serving: Option<Arc<Upstream>>,
    waiting: Option<Waiting>,
    refused: Option<Refusal>,
    /// Additions up to this index are refused for good, also after other documents of the same index.
    barred: Option<DocIndex>,
    /// Added peers that had not passed when the switch came: kept out until they do.
    unpassed: BTreeSet<InstanceId>,
}

#[derive(Debug)]
struct Waiting {
    upstream: Arc<Upstream>,
    deadline: Timestamp,
    /// None: passed. Otherwise what its probe said last.
    missing: BTreeMap<InstanceId, Option<String>>,
}

impl Waiting {
    fn enough(&self) -> bool {
        let allowed = self
            .upstream
            .handover
            .as_ref()
            .map_or(0, |h| h.max_unavailable);
        self.missing.len() <= allowed.min(self.upstream.added().len().saturating_sub(1))
    }
}

impl Cutover {
    /// A service as it was when it was last written down: served and confirmed.
    pub fn restored(upstream: Arc<Upstream>) -> Self {
        Self {
            seen: upstream.index(),
            owner: owner(&upstream),
            serving: Some(upstream),
            ..Self::default()
        }
    }

    /// A document arrived. `ready` are instances this balancer has passed by its own probe already.
    pub fn document(
        &mut self,
        upstream: Arc<Upstream>,
        ready: &BTreeSet<InstanceId>,
        now: Timestamp,
    ) -> Vec<Step> {
        if self.is_stale(&upstream) || self.is_known(&upstream) {
            return Vec::new();
        }
        self.note(&upstream);
        self.refused = None;
        self.waiting = None;
        let missing: BTreeMap<_, _> = self.to_pass(&upstream, ready);
        let timeout = upstream.handover.as_ref().map(|h| h.accept_timeout);
        let waiting = Waiting {
            deadline: now + timeout.unwrap_or_default(),
            missing,
            upstream,
        };
        if waiting.enough() || waiting.missing.is_empty() {
            return self.switch(waiting);
        }
        let steps = self.hold(&waiting.upstream).into_iter().collect();
        self.waiting = Some(waiting);
        steps
    }

    /// The service was really deleted.
    pub fn deleted(&mut self) -> Vec<Step> {
        // A set may be held although nothing is served and nothing waits any more: a first document that was refused.
        if self.serving.is_none() && self.waiting.is_none() && self.refused.is_none() {
            return Vec::new();
        }
        *self = Self::default();
        vec![Step::Remove]
    }

    /// This balancer's own probe of an instance ended.
    pub fn probed(&mut self, instance: &InstanceId, result: Result<(), String>) -> Vec<Step> {
        if result.is_ok() && self.unpassed.remove(instance) {
            return vec![Step::Passed(instance.clone())];
        }
        let Some(mut waiting) = self.waiting.take() else {
            return Vec::new();
        };
        match result {
            Ok(()) => drop(waiting.missing.remove(instance)),
            Err(reason) => {
                if let Some(last) = waiting.missing.get_mut(instance) {
                    *last = Some(reason);
                }
            }
        }
        if waiting.enough() {
            return self.switch(waiting);
        }
        self.waiting = Some(waiting);
        Vec::new()
    }

    /// Time passed.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Step> {
        let Some(waiting) = self.waiting.take_if(|w| w.deadline <= now) else {
            return Vec::new();
        };
        let Some((peer, reason)) = waiting.missing.into_iter().next() else {
            return Vec::new();
        };
        let refusal = Refusal {
            index: waiting.upstream.index(),
            peer,
            reason: reason.unwrap_or_else(|| "no probe has ended yet".to_owned()),
        };
        self.barred = Some(refusal.index);
        self.refused = Some(refusal.clone());
        vec![Step::Refused(refusal)]
    }

    /// When [`Cutover::tick`] has something to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.waiting.as_ref().map(|w| w.deadline)
    }

    /// Instances to be probed now, with the upstream that lists them.
    pub fn to_probe(&self) -> Option<(&Arc<Upstream>, Vec<InstanceId>)> {
        match &self.waiting {
            Some(w) => Some((&w.upstream, w.missing.keys().cloned().collect())),
            None if self.unpassed.is_empty() => None,
            None => Some((
                self.serving.as_ref()?,
                self.unpassed.iter().cloned().collect(),
            )),
        }
    }

    /// Highest index received.
    pub fn seen(&self) -> DocIndex {
        self.seen
    }

    /// The document served.
    pub fn serving(&self) -> Option<&Arc<Upstream>> {
        self.serving.as_ref()
    }

    /// The document that waits for its added peers.
    pub fn waiting(&self) -> Option<&Arc<Upstream>> {
        self.waiting.as_ref().map(|w| &w.upstream)
    }

    /// Why the newest document is not served.
    pub fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// Whether an instance is listed but kept out until it passes.
    pub fn is_unpassed(&self, instance: &InstanceId) -> bool {
        self.unpassed.contains(instance)
    }

    /// Remembers the index of a master's document. Other documents leave it alone, so that an old one cannot slip in behind them.
    fn note(&mut self, upstream: &Upstream) {
        let Some(app) = owner(upstream) else { return };
        if self.owner.as_ref() != Some(&app) {
            self.barred = None;
        }
        self.owner = Some(app);
        self.seen = upstream.index();
    }

    /// Older than what was seen of the same app. Another app's index counts for itself.
    fn is_stale(&self, upstream: &Upstream) -> bool {
        self.is_same_app(upstream) && upstream.index() < self.seen
    }

    fn is_same_app(&self, upstream: &Upstream) -> bool {
        self.owner.is_some() && self.owner == owner(upstream)
    }

    /// Delivered again, or refused before.
    fn is_known(&self, upstream: &Upstream) -> bool {
        let same = |known: &Arc<Upstream>| known.doc == upstream.doc;
        let barred =
            self.is_same_app(upstream) && self.barred.is_some_and(|b| upstream.index() <= b);
        let refused = barred && !upstream.added().is_empty();
        match self.waiting() {
            Some(waiting) => same(waiting),
            None => refused || self.serving.as_ref().is_some_and(same),
        }
    }

    /// Added peers this balancer has neither passed nor routed to before.
    fn to_pass(
        &self,
        upstream: &Upstream,
        ready: &BTreeSet<InstanceId>,
    ) -> BTreeMap<InstanceId, Option<String>> {
        let added = upstream.added().iter();
        added
            .filter(|i| !ready.contains(*i))
            .map(|i| (i.clone(), None))
            .collect()
    }

    /// The old set as the new document tells it, when what is routed by now lacks some of it (documents were missed, or none was there).
    /// Never with peers this balancer has switched away from already: that they are drained was, or will be, believed.
    fn hold(&self, upstream: &Upstream) -> Option<Step> {
        let mut before = upstream.before()?;
        let goes = |p: &PeerSpec| upstream.retiring().iter().any(|r| r.key == p.key);
        for level in &mut before.levels {
            level.retain(|p| !(goes(p) && self.has_left(p)));
        }
        let routed = |p: &PeerSpec| {
            let serving = self.serving.as_ref();
            serving.is_some_and(|s| s.peers().any(|have| have.key == p.key))
        };
        let complete = before.peers().all(routed);
        (!complete).then(|| Step::Hold(Arc::new(before)))
    }

    /// A peer on its way out by the document served, or by one before it.
    fn has_left(&self, peer: &PeerSpec) -> bool {
        let Some(serving) = &self.serving else {
            return false;
        };
        let is = |have: &PeerSpec| have.key == peer.key;
        serving.retiring().iter().any(is) && !serving.peers().any(is)
    }

    fn switch(&mut self, waiting: Waiting) -> Vec<Step> {
        self.unpassed = waiting.missing.into_keys().collect();
        self.serving = Some(waiting.upstream.clone());
        vec![Step::Switch(waiting.upstream)]
    }
}

fn owner(upstream: &Upstream) -> Option<AppName> {
    upstream.handover.as_ref().map(|h| h.app.clone())
}

#[cfg(test)]
mod tests;
