//! What the registries outside hold, and who reads them there without being an agent, as the leader of this term last saw both.
//!
//! A reader tells one revision for all services. Together with the revision each document was written at, that says what it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hancock_proto::ids::{AppName, DocIndex, InstanceId, Revision};
use hancock_proto::registry::{Batch, Confirmation, Listing, Reader};
use hancock_proto::report::{Draining, Refusal};
use hancock_proto::service::ServiceName;
use hancock_proto::time::Timestamp;
use hancock_proto::upstream::UpstreamDoc;

use super::MAX_RISES;

/// Readers remembered of one registry; a few hundred are many.
const MAX_READERS: usize = 4096;
/// A reader whose lease was over for longer is forgotten.
const FORGET: Duration = Duration::from_secs(24 * 3600);

/// The registries outside, by number of the choice.
#[derive(Debug, Clone, Default)]
pub struct Outside(BTreeMap<u64, Store>);

/// One of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    /// Revision at which documents of an app were written last in this term.
    apps: BTreeMap<AppName, Revision>,
    documents: BTreeMap<ServiceName, Written>,
    /// Revision of the last list; None: it was not listed yet in this term.
    listed: Option<Revision>,
    /// None: not known in this term.
    readers: Option<BTreeMap<String, Seen>>,
}

/// What lies under a name.
#[derive(Debug, Clone, Copy)]
struct Written {
    /// None: nothing.
    index: Option<DocIndex>,
    revision: Revision,
}

/// A reader.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// None: what it tells is not understood.
    told: Option<Confirmation>,
    /// When its lease was last seen to hold.
    pub(crate) heard: Timestamp,
    /// Its lease holds.
    pub(crate) is_there: bool,
    /// When its revision rose, oldest first, bounded.
    rises: Vec<(Revision, Timestamp)>,
}

/// How a reader stands to an index of some services.
#[derive(Debug, PartialEq)]
pub(crate) enum Stand {
    /// It serves it, and is known to do so since then.
    Confirmed(DocIndex, Timestamp),
    /// It keeps what was before.
    Refused(Refusal),
    /// Not yet, and why.
    Behind(&'static str),
}

impl Outside {
    /// Only these are still written.
    pub fn keep(&mut self, choices: &BTreeSet<u64>) {
        self.0.retain(|number, _| choices.contains(number));
    }

    /// What a registry holds.
    pub fn listed(&mut self, choice: u64, listing: &Listing) {
        let store = self.0.entry(choice).or_default();
        store.listed = Some(listing.revision);
        let known = store.documents.iter_mut();
        for (_, gone) in known.filter(|(name, _)| !listing.entries.contains_key(*name)) {
            gone.index = None;
        }
        for (name, entry) in &listing.entries {
            let written = Written::new(Some(&entry.doc), entry.revision);
            store.documents.insert(name.clone(), written);
        }
    }

    /// A batch was written to a registry.
    pub fn written(&mut self, choice: u64, batch: &Batch, revision: Revision) {
        let store = self.0.entry(choice).or_default();
        store.apps.insert(batch.app.clone(), revision);
        for (name, doc) in &batch.changes {
            let written = Written::new(doc.as_deref(), revision);
            store.documents.insert(name.clone(), written);
        }
    }

    /// Everybody who reads a registry and is known to it. True: something has changed.
    pub fn heard(&mut self, choice: u64, readers: Vec<Reader>, now: Timestamp) -> bool {
        let store = self.0.entry(choice).or_default();
        let mut changed = store.readers.is_none();
        let known = store.readers.get_or_insert_default();
        let there: BTreeSet<String> = readers.iter().map(|r| r.name.clone()).collect();
        for (_, gone) in known.iter_mut().filter(|(name, _)| !there.contains(*name)) {
            changed |= std::mem::take(&mut gone.is_there);
        }
        for Reader { name, told } in readers {
            if told.as_ref().is_some_and(|told| told.ended) {
                changed |= known.remove(&name).is_some();
            } else if known.contains_key(&name) || known.len() < MAX_READERS {
                let seen = known.entry(name).or_insert_with(|| Seen::new(now));
                changed |= seen.take(told, now);
            }
        }
        known.retain(|_, seen| now.since(seen.heard) < FORGET);
        changed
    }

    /// A registry, as far as it was seen.
    pub(crate) fn store(&self, choice: u64) -> Option<&Store> {
        self.0.get(&choice)
    }

    /// What is open on a peer by a reader, over every service it tells of.
    pub(crate) fn open(&self, choice: u64, reader: &str, peer: &InstanceId) -> Draining {
        let store = self.store(choice);
        let seen = store.and_then(|store| store.readers.as_ref()?.get(reader));
        let told = seen.and_then(|seen| seen.told.as_ref());
        let services = told.into_iter().flat_map(|told| told.open.values());
        super::sum(services.filter_map(|service| service.draining.get(peer)))
    }
}

impl Store {
    /// Its readers; None: nobody has asked for them in this term.
    pub(crate) fn readers(&self) -> Option<&BTreeMap<String, Seen>> {
        self.readers.as_ref()
    }

    /// How a reader stands to `index` of an app that has these services, written at `known` as far as that is replicated. What the app
    /// has no more was deleted with it.
    pub(crate) fn stands<'a>(
        &self,
        reader: &Seen,
        app: &AppName,
        known: Option<Revision>,
        names: impl IntoIterator<Item = &'a ServiceName>,
        index: DocIndex,
    ) -> Stand {
        let Some(told) = &reader.told else {
            return Stand::Behind("tells what this version does not understand");
        };
        let written = self.apps.get(app).copied();
        if written.is_none() && self.listed.is_none() {
            return Stand::Behind("reads a registry that could not be listed yet");
        }
        // A store that lost everything begins anew, below what was written before.
        let known = known.filter(|known| Some(*known) <= self.listed);
        let mut revision = written.or(known).unwrap_or_default();
        let mut lowest = DocIndex(u64::MAX);
        for name in names {
            let written = self.documents.get(name).copied();
            let Some((written, newest)) = written.and_then(|w| Some((w, w.index?))) else {
                return Stand::Behind("reads a registry that lacks the documents");
            };
            revision = revision.max(written.revision);
            let open = told.open.get(name);
            if let Some(refused) = open.and_then(|open| open.refused.as_ref())
                && refused.index >= index
            {
                return Stand::Refused(refused.clone());
            }
            if open.is_none() && told.more {
                return Stand::Behind("has too many services under way to tell of all");
            }
            lowest = lowest.min(open.map_or(newest, |open| open.confirmed));
        }
        let risen = reader.rises.iter().find(|(at, _)| *at >= revision);
        match risen {
            Some((_, since)) if told.revision >= revision && lowest >= index => {
                Stand::Confirmed(lowest, *since)
            }
            _ => Stand::Behind("has not confirmed yet"),
        }
    }
}

impl Written {
    fn new(doc: Option<&UpstreamDoc>, revision: Revision) -> Self {
        let ours = doc.and_then(|doc| doc.hancock.as_ref());
        Self {
            index: doc.map(|_| ours.map(|ours| ours.index).unwrap_or_default()),
            revision,
        }
    }
}

impl Seen {
    fn new(now: Timestamp) -> Self {
        Self {
            told: None,
            heard: now,
            is_there: false,
            rises: Vec::new(),
        }
    }

    /// True: it tells something new.
    fn take(&mut self, told: Option<Confirmation>, now: Timestamp) -> bool {
        self.heard = now.max(self.heard);
        let changed = !self.is_there || self.told != told;
        self.is_there = true;
        if let Some(told) = &told {
            // Lower: its store went back, or it began anew.
            self.rises.retain(|(at, _)| *at <= told.revision);
            if self.rises.last().is_none_or(|(at, _)| *at < told.revision) {
                self.rises.push((told.revision, now));
            }
            if self.rises.len() > MAX_RISES {
                self.rises.remove(0);
            }
        }
        self.told = told;
        changed
    }
}
