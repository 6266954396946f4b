//! Two ways a document may come, one index: the masters' own stream and the registry chosen beside it. Pure.
//!
//! Each way has a [`Watcher`] that tells removal from absence there. Here the higher index wins, whichever way brings it: a way that is
//! behind, cut off or wiped takes nothing back from the other.

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::ids::{DocIndex, Revision, ZoneName};
use hancock_proto::registry::{Change, Listing};
use hancock_proto::service::ServiceName;

use crate::watcher::{Apply, Watcher};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Own,
    Outside,
}

/// What a way said last of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Has(DocIndex),
    /// Deleted, when this was its index.
    Gone(DocIndex),
}

/// Both ways.
#[derive(Debug, Default)]
pub struct Paths {
    own: Watcher,
    outside: Outside,
    said: BTreeMap<ServiceName, [Option<Said>; 2]>,
}

/// The chosen registry's way.
#[derive(Debug, Default)]
struct Outside {
    watcher: Watcher,
    zones: BTreeSet<ZoneName>,
}

impl Paths {
    /// Both ways at their beginning; `own` may have been told of an earlier run.
    pub fn new(own: Watcher) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Where the masters' stream is; None: list first.
    pub fn revision(&self) -> Option<Revision> {
        self.own.revision()
    }

    /// Where the chosen registry's watch is; None: list first.
    pub fn outside(&self) -> Option<Revision> {
        self.outside.watcher.revision()
    }

    /// Another registry is followed from now on, or for other zones. What the former one said counts no more, and takes nothing away.
    pub fn follow(&mut self, zones: BTreeSet<ZoneName>) {
        let watcher = Watcher::new();
        self.outside = Outside { watcher, zones };
        for said in self.said.values_mut() {
            said[Way::Outside as usize] = None;
        }
        self.said.retain(|_, said| said.iter().any(Option::is_some));
    }

    /// A list of the masters' stream.
    pub fn list(&mut self, listing: &Listing) -> Vec<Apply> {
        let applies = self.own.list(listing);
        self.weigh(Way::Own, applies)
    }

    /// Changes of the masters' stream.
    pub fn changes(&mut self, revision: Revision, changes: &[Change]) -> Vec<Apply> {
        let applies = self.own.changes(revision, changes);
        self.weigh(Way::Own, applies)
    }

    /// A list of the chosen registry.
    pub fn list_outside(&mut self, listing: Listing) -> Vec<Apply> {
        let listing = listing.for_zones(&self.outside.zones, Revision(0));
        let applies = self.outside.watcher.list(&listing);
        self.weigh(Way::Outside, applies)
    }

    /// Changes of the chosen registry.
    pub fn changes_outside(&mut self, revision: Revision, changes: Vec<Change>) -> Vec<Apply> {
        let zones = &self.outside.zones;
        let changes: Vec<_> = changes.into_iter().map(|c| c.for_zones(zones)).collect();
        let applies = self.outside.watcher.changes(revision, &changes);
        self.weigh(Way::Outside, applies)
    }

    fn weigh(&mut self, way: Way, applies: Vec<Apply>) -> Vec<Apply> {
        let each = applies.into_iter();
        each.filter(|apply| self.counts(way, apply)).collect()
    }

    /// Notes what a way says; whether it is news beside what the other one said.
    fn counts(&mut self, way: Way, apply: &Apply) -> bool {
        let both = self.said.entry(apply.name.clone()).or_default();
        let had = match both[way as usize] {
            Some(Said::Has(index) | Said::Gone(index)) => index,
            None => DocIndex(0),
        };
        let says = match &apply.doc {
            Some(doc) => Said::Has(doc.index()),
            None => Said::Gone(had),
        };
        both[way as usize] = Some(says);
        let other = both[1 - way as usize];
        let news = match (says, other) {
            (_, None) => true,
            (Said::Has(index), Some(Said::Has(other))) => {
                index > other || index == DocIndex(0) && other == index
            }
            (Said::Has(index), Some(Said::Gone(other))) => index > other,
            (Said::Gone(index), Some(Said::Has(other))) => index >= other,
            (Said::Gone(_), Some(Said::Gone(_))) => false,
        };
        let over = |said: &Option<Said>| !matches!(said, Some(Said::Has(_)));
        if both.iter().all(over) && both.iter().all(Option::is_some) {
            self.said.remove(&apply.name);
        }
        news
    }
}

#[cfg(test)]
mod tests;
