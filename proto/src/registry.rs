//! The upstream registry's model: a small revisioned store of documents, with one fence. Pure; shared by the embedded registry (as
//! replicated state) and the in-memory one, so that both behave the same.

mod choice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{AppName, BootId, ClusterId, DocIndex, NodeId, Revision, Term, ZoneName};
use crate::persistent::{Map, Recent};
use crate::report::ServiceReport;
use crate::service::ServiceName;
use crate::upstream::UpstreamDoc;

pub use choice::{Choice, InvalidRegistryUrl, RegistryUrl};

/// Who may write: compared on every publish, raised when a term starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The cluster.
    pub cluster: ClusterId,
    /// The leader's term.
    pub term: Term,
}

/// One transaction over all names of one app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The app that owns the names.
    pub app: AppName,
    /// Puts and deletes by service name; at most [`MAX_BATCH`].
    pub changes: BTreeMap<ServiceName, Option<Arc<UpstreamDoc>>>,
}

/// Most names one batch may touch.
pub const MAX_BATCH: usize = 64;

/// How a publish ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Written at this revision.
    Committed(Revision),
    /// Nothing written: this higher fence rules now.
    Lost(Fence),
    /// The answer was lost: read back before anything else.
    Unknown,
}

/// One stored document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Revision of its last write.
    pub revision: Revision,
    /// The document.
    pub doc: Arc<UpstreamDoc>,
}

/// Everything in a registry at one revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The store's revision.
    pub revision: Revision,
    /// The fence; None: the store was wiped or never written.
    pub fence: Option<Fence>,
    /// All documents by service name.
    pub entries: BTreeMap<ServiceName, Entry>,
    /// Names that are there with something that is no document, and what is wrong with it: they are not absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub damaged: BTreeMap<ServiceName, String>,
    /// The store's past is not the one this reader has seen: it was wiped or set back. What it lacks may just be lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub another: bool,
}

/// What a reader that is no agent serves, as it tells the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Name of the reader's own key.
    pub reader: String,
    /// The node it serves on.
    pub node: NodeId,
    /// This start of it. A new one voids what was told before.
    pub boot: BootId,
    /// Every document up to this revision is served and on disk, but for those in `open`.
    pub revision: Revision,
    /// The highest index of a master's document among them.
    pub index: DocIndex,
    /// Services that wait, were refused, or still have something open on peers that left; at most [`MAX_OPEN`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub open: BTreeMap<ServiceName, ServiceReport>,
    /// There are more such services than [`MAX_OPEN`]: who is not in `open` is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// The reader has ended and serves nothing any more. One that only falls silent may still serve.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// A reader that a store knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Reader {
    /// Its name.
    pub name: String,
    /// What it told last; None: what lies there is not understood.
    pub told: Option<Confirmation>,
}

/// Most services of one [`Confirmation::open`].
pub const MAX_OPEN: usize = 256;
impl Listing {
    /// What a reader of these zones gets, who has belonged to just these since `since`: what it let go of before is newer now.
    #[must_use]
    pub fn for_zones(mut self, zones: &BTreeSet<ZoneName>, since: Revision) -> Self {
        self.entries.retain(|_, entry| entry.doc.is_for(zones));
        for entry in self.entries.values_mut() {
            entry.revision = entry.revision.max(since);
        }
        self
    }
}

impl Change {
    /// What a reader of these zones gets: a document of others is gone for it.
    #[must_use]
    pub fn for_zones(mut self, zones: &BTreeSet<ZoneName>) -> Self {
        self.doc = self.doc.filter(|doc| doc.is_for(zones));
        self
    }
}

/// One change of one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Revision of the change.
    pub revision: Revision,
    /// Service name.
    pub name: ServiceName,
    /// The new document; None: deleted.
    pub doc: Option<Arc<UpstreamDoc>>,
}

/// The store: names, revisions, fence, and enough of the past to resume a watch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Store {
    revision: Revision,
    fence: Option<Fence>,
    entries: Map<ServiceName, Entry>,
    /// Newest last; bounded by [`MAX_HISTORY`].
    history: Recent<Change>,
    /// Watches from before this revision must list.
    compacted: Revision,
}

/// Changes kept for watches to resume from.
pub const MAX_HISTORY: usize = 1024;

impl Store {
    /// Raises the fence. False: a higher one is there, or another cluster's.
    pub fn raise(&mut self, fence: &Fence) -> bool {
        let allowed = self
            .fence
            .as_ref()
            .is_none_or(|have| have.cluster == fence.cluster && have.term <= fence.term);
        if allowed {
            self.fence = Some(fence.clone());
        }
        allowed
    }

    /// Writes a batch whole, when `fence` still rules.
    pub fn publish(&mut self, batch: &Batch, fence: &Fence) -> Outcome {
        match &self.fence {
            Some(have) if have != fence => return Outcome::Lost(have.clone()),
            Some(_) => {}
            None => self.fence = Some(fence.clone()),
        }
        self.revision = self.revision.next();
        for (name, doc) in &batch.changes {
            self.change(name, doc.clone());
        }
        Outcome::Committed(self.revision)
    }

    fn change(&mut self, name: &ServiceName, doc: Option<Arc<UpstreamDoc>>) {
        let revision = self.revision;
        match &doc {
            Some(doc) => self.entries.insert(
                name.clone(),
                Entry {
                    revision,
                    doc: doc.clone(),
                },
            ),
            None => drop(self.entries.remove(name)),
        }
        self.history.push(Change {
            revision,
            name: name.clone(),
            doc,
        });
        while let Some(old) = self.history.excess(MAX_HISTORY) {
            self.compacted = old.revision;
        }
    }

    /// A new revision without a change: what is sent to somebody from here on is newer than anything sent before.
    pub fn advance(&mut self) -> Revision {
        self.revision = self.revision.next();
        self.revision
    }

    /// Goes on `by` revisions later, as if all between had been forgotten: whoever saw any of them must list.
    pub fn leap(&mut self, by: u64) {
        self.revision.0 += by;
        self.compact();
    }

    /// Whoever raises a fence next, rules.
    pub fn forget_fence(&mut self) {
        self.fence = None;
    }

    /// Everything, as of now.
    pub fn list(&self) -> Listing {
        Listing {
            revision: self.revision,
            fence: self.fence.clone(),
            entries: self
                .entries()
                .map(|(name, entry)| (name.clone(), entry.clone()))
                .collect(),
            damaged: BTreeMap::new(),
            another: false,
        }
    }

    /// The store's revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Every document by name, as of now.
    pub fn entries(&self) -> impl Iterator<Item = (&ServiceName, &Entry)> {
        self.entries.iter()
    }

    /// One document.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Changes after `revision`, oldest first; None: too old, list instead.
    pub fn changes_after(&self, revision: Revision) -> Option<Vec<Change>> {
        if revision < self.compacted || revision > self.revision {
            return None;
        }
        // Many ask, each for the last few.
        let newest = self.history.iter().rev();
        let newer = newest.take_while(|change| change.revision > revision);
        let mut changes: Vec<_> = newer.cloned().collect();
        changes.reverse();
        Some(changes)
    }

    /// Forgets the past up to now, as a compaction does.
    pub fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.revision;
    }
}
