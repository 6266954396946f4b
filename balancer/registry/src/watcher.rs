//! Tells removal from absence, for every reader of a registry. Pure: fed with listings and changes, answers with what to apply.
//!
//! A service goes away only by a delete event, or by a list that proves it: same cluster, fence present, revision not behind anything
//! seen. Everything else keeps the service, marked orphaned. Documents that carry an index never go back to a lower one.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_proto::ids::{ClusterId, DocIndex, Revision};
use hancock_proto::registry::{Change, Listing};
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::UpstreamDoc;

/// Deleted names remembered, so that an older document cannot bring one back. Full: the one deleted longest ago is forgotten.
pub const MAX_TOMBSTONES: usize = 4096;

/// What a reader shall do with one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Apply {
    /// Service name, which tells its kind too.
    pub name: ServiceName,
    /// Its new document; None: really deleted.
    pub doc: Option<Arc<UpstreamDoc>>,
}

/// What is known of a registry.
#[derive(Debug, Clone, Default)]
pub struct Watcher {
    /// Where the watch is; goes back with a store that was wiped.
    position: Option<Revision>,
    /// Highest revision ever seen: the bar a list must pass to prove that a name is gone.
    highest: Option<Revision>,
    /// The cluster whose fence was seen. None: none yet.
    cluster: Option<ClusterId>,
    known: BTreeMap<ServiceName, Known>,
    tombstones: BTreeMap<ServiceName, Tombstone>,
}

#[derive(Debug, Clone)]
struct Known {
    /// None: served from a record of an earlier run, content not seen here.
    doc: Option<Arc<UpstreamDoc>>,
    orphaned: bool,
}

#[derive(Debug, Clone, Copy)]
struct Tombstone {
    index: DocIndex,
    revision: Revision,
}

impl Watcher {
    /// Knows nothing: the first list is applied whole.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over what an earlier run served, so that a list can prove names of then gone. Without `cluster` nothing of it is ever
    /// removed by a list.
    pub fn adopt(
        &mut self,
        cluster: Option<ClusterId>,
        highest: Option<Revision>,
        names: impl IntoIterator<Item = ServiceName>,
    ) {
        self.cluster = cluster;
        self.highest = highest;
        for name in names {
            self.known.entry(name).or_insert(Known {
                doc: None,
                orphaned: false,
            });
        }
    }

    /// Where the watch is; None: list first.
    pub fn revision(&self) -> Option<Revision> {
        self.position
    }

    /// Highest revision ever seen, and the cluster whose fence was: what [`Watcher::adopt`] is given after a restart.
    pub fn proof(&self) -> (Option<ClusterId>, Option<Revision>) {
        (self.cluster.clone(), self.highest)
    }

    /// Services kept although the last list lacks them, because it proves nothing.
    pub fn orphaned(&self) -> impl Iterator<Item = &str> {
        self.known
            .iter()
            .filter(|(_, known)| known.orphaned)
            .map(|(name, _)| name.as_str())
    }

    /// Compares everything with a listing.
    pub fn list(&mut self, listing: &Listing) -> Vec<Apply> {
        let proves = self.proves_absence(listing);
        if listing.another {
            self.reopen();
        }
        let fresh = self.position.is_none_or(|at| listing.revision >= at);
        let mut out = Vec::new();
        // Removals first, here and below: they are on disk before the new documents of the same write are confirmed.
        out.extend(self.missing(listing, proves));
        for (name, entry) in &listing.entries {
            out.extend(self.put(name, entry.revision, &entry.doc, fresh));
        }
        if let Some(fence) = &listing.fence {
            self.cluster = Some(fence.cluster.clone());
        }
        self.position = Some(listing.revision);
        self.highest = self.highest.max(Some(listing.revision));
        out
    }

    /// Takes changes, oldest first; the watch is at `revision` after them.
    pub fn changes(&mut self, revision: Revision, changes: &[Change]) -> Vec<Apply> {
        let mut out = Vec::new();
        let mut ordered = newest_of_each(changes);
        ordered.sort_by_key(|change| (change.revision, change.doc.is_some()));
        for change in ordered {
            // Already applied: a resumed watch may repeat itself.
            if self.position.is_some_and(|at| change.revision <= at) {
                continue;
            }
            out.extend(match &change.doc {
                Some(doc) => self.put(&change.name, change.revision, doc, true),
                None => self.delete(&change.name, change.revision),
            });
        }
        self.position = self.position.max(Some(revision));
        self.highest = self.highest.max(Some(revision));
        out
    }

    /// In another history what was deleted may have been written again, at the index it had.
    fn reopen(&mut self) {
        for tombstone in self.tombstones.values_mut() {
            tombstone.index = DocIndex(tombstone.index.0.saturating_sub(1));
            tombstone.revision = Revision(u64::MAX);
        }
    }

    fn proves_absence(&self, listing: &Listing) -> bool {
        let same_cluster = match (&listing.fence, &self.cluster) {
            (Some(fence), Some(cluster)) => fence.cluster == *cluster,
            _ => false,
        };
        !listing.another && same_cluster && self.highest.is_none_or(|seen| listing.revision >= seen)
    }

    /// `fresh`: the document is at least as new as anything seen, by revision.
    fn put(
        &mut self,
        name: &ServiceName,
        revision: Revision,
        doc: &Arc<UpstreamDoc>,
        fresh: bool,
    ) -> Option<Apply> {
        if !self.may_replace(name, revision, doc, fresh) {
            return None;
        }
        self.tombstones.remove(name);
        let known = Known {
            doc: Some(doc.clone()),
            orphaned: false,
        };
        let before = self.known.insert(name.clone(), known);
        let same = before
            .and_then(|k| k.doc)
            .is_some_and(|have| *have == **doc);
        (!same).then(|| Apply {
            name: name.clone(),
            doc: Some(doc.clone()),
        })
    }

    fn may_replace(
        &self,
        name: &ServiceName,
        revision: Revision,
        doc: &UpstreamDoc,
        fresh: bool,
    ) -> bool {
        if let Some(tomb) = self.tombstones.get(name) {
            let newer = revision > tomb.revision && fresh;
            return match &doc.hancock {
                Some(member) => member.index > tomb.index || (member.index == tomb.index && newer),
                None => newer,
            };
        }
        let have = self.known.get(name).and_then(|known| known.doc.as_ref());
        match (have.and_then(|d| d.hancock.as_ref()), &doc.hancock) {
            (Some(have), Some(new)) => new.index > have.index || (new.index == have.index && fresh),
            // Only one of them counts, or none: the order of revisions decides.
            (Some(_), None) | (None, None) => fresh || have.is_none(),
            (None, Some(_)) => true,
        }
    }

    fn delete(&mut self, name: &ServiceName, revision: Revision) -> Option<Apply> {
        let known = self.known.remove(name)?;
        let index = known.doc.map(|doc| doc.index()).unwrap_or_default();
        self.bury(name, Tombstone { index, revision });
        Some(Apply {
            name: name.clone(),
            doc: None,
        })
    }

    fn bury(&mut self, name: &ServiceName, tombstone: Tombstone) {
        self.tombstones.insert(name.clone(), tombstone);
        if self.tombstones.len() > MAX_TOMBSTONES {
            let oldest = self
                .tombstones
                .iter()
                .min_by_key(|(_, t)| t.revision)
                .map(|(name, _)| name.clone());
            oldest.map(|name| self.tombstones.remove(&name));
        }
    }

    fn missing(&mut self, listing: &Listing, proves: bool) -> Vec<Apply> {
        let missing: Vec<ServiceName> = self
            .known
            .keys()
            .filter(|name| !listing.entries.contains_key(*name))
            .filter(|name| !listing.damaged.contains_key(*name))
            .cloned()
            .collect();
        if proves {
            return missing
                .iter()
                .filter_map(|name| self.delete(name, listing.revision))
                .collect();
        }
        for name in &missing {
            if let Some(known) = self.known.get_mut(name) {
                known.orphaned = true;
            }
        }
        Vec::new()
    }
}

/// Who catches up goes to what is there now: a service that went and came back meanwhile must not go on the way.
fn newest_of_each(changes: &[Change]) -> Vec<&Change> {
    let mut newest: BTreeMap<&ServiceName, &Change> = BTreeMap::new();
    for change in changes {
        let known = newest.entry(&change.name).or_insert(change);
        if known.revision <= change.revision {
            *known = change;
        }
    }
    newest.into_values().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
