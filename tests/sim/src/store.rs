//! A registry outside: a store of its own that is away, slow, forgetful, and loses answers. Compares fence and keys in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hancock_proto::ids::Term;
use hancock_proto::registry::{Batch, Fence, Listing, Outcome, Store};
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::UpstreamDoc;

use crate::cluster::fence;
use crate::publish::{Answer, Ask};
use crate::settings::Fault;
use crate::world::{Event, World};

/// The store outside.
#[derive(Default)]
pub(crate) struct External {
    pub(crate) store: Store,
    /// Which store it is: one that lost everything is another one, and says so.
    pub(crate) identity: u64,
    /// Nobody reaches it until then.
    pub(crate) away_until: u64,
    /// Highest fence ever raised.
    highest: Term,
    /// What it may be put back to.
    pub(crate) copy: Option<Store>,
    /// What somebody else found under names, and may put back.
    pub(crate) earlier: BTreeMap<ServiceName, Arc<UpstreamDoc>>,
}

impl External {
    /// The store is what it was once; who led since is not known to it.
    pub(crate) fn set_back(&mut self, copy: Store) {
        self.highest = copy.list().fence.map(|f| f.term).unwrap_or_default();
        self.store = copy;
    }
}

impl World {
    /// A leader's word reaches the store, whatever became of the leader meanwhile.
    pub(crate) fn asked(&mut self, master: usize, term: Term, ask: Ask) {
        let ours = fence(term);
        if self.now < self.external.away_until {
            return self.answer(master, term, Answer::Away(ask));
        }
        let answer = match ask {
            Ask::Raise => {
                let missing = self.external.store.list().fence.is_none();
                Answer::Raised(self.raise_outside(&ours), missing)
            }
            Ask::Publish(publication, tries) => {
                let outcome = self.publish_outside(&publication.batch, &ours);
                Answer::Published(publication, tries, outcome)
            }
            Ask::ReadBack(publication, tries) => {
                Answer::Listed(publication, tries, self.external.store.list())
            }
            Ask::Look => Answer::Looked(self.external.store.list()),
        };
        self.answer(master, term, answer);
    }

    fn answer(&mut self, master: usize, term: Term, answer: Answer) {
        let delay = self.rng.between(1, 15);
        self.after(delay, Event::Answer(master, term, answer));
    }

    fn raise_outside(&mut self, ours: &Fence) -> bool {
        let up = self.external.store.raise(ours);
        if up {
            self.external.highest = self.external.highest.max(ours.term);
        }
        self.say(|_| format!("store: raise to term {}: {up}", ours.term));
        up
    }

    /// Writes, and perhaps loses the answer, or the question.
    fn publish_outside(&mut self, batch: &Batch, ours: &Fence) -> Outcome {
        let faulty = self.settings.has(Fault::Store) && !self.peace;
        if faulty && self.rng.percent(8) {
            return Outcome::Unknown;
        }
        let before = self.external.store.clone();
        if before.list().fence.is_none() || is_behind(&before, batch) {
            // Compared with a fence that is gone, or with a key that moved on, no transaction holds; reading back tells why.
            return Outcome::Unknown;
        }
        let outcome = self.external.store.publish(batch, ours);
        self.say(|_| {
            format!(
                "store: publish {} under term {}: {outcome:?}",
                batch.app, ours.term
            )
        });
        if matches!(outcome, Outcome::Committed(_)) {
            let highest = self.external.highest;
            self.judge_write(&before, batch, ours, highest);
            self.external.highest = highest.max(ours.term);
        }
        if faulty && self.rng.percent(8) {
            return Outcome::Unknown;
        }
        outcome
    }

    /// Everything at once: between two writes a reader could take what is not yet there for removed.
    pub(crate) fn republish(&mut self, master: usize, term: Term, listing: &Listing) {
        let state = &self.cluster.masters[master].state;
        let apps = state.apps.keys();
        let batches: Vec<Batch> = apps
            .filter_map(|app| hancock_master_core::batch(state, app))
            .collect();
        let owned: BTreeSet<_> = batches
            .iter()
            .flat_map(|b| b.changes.keys())
            .cloned()
            .collect();
        let strangers = listing.entries.iter().filter(|(n, _)| !owned.contains(*n));
        let strangers: Vec<Batch> = strangers
            .filter_map(|(name, entry)| {
                let app = entry.doc.hancock.as_ref()?.app.clone();
                let changes = BTreeMap::from([(name.clone(), None)]);
                Some(Batch { app, changes })
            })
            .collect();
        let ours = fence(term);
        self.raise_outside(&ours);
        for batch in batches.into_iter().chain(strangers) {
            self.external.store.publish(&batch, &ours);
        }
    }
}

/// Whether the store has something newer of the same app than the batch would write.
fn is_behind(store: &Store, batch: &Batch) -> bool {
    is_behind_listing(&store.list(), batch)
}

pub(crate) fn is_behind_listing(listing: &Listing, batch: &Batch) -> bool {
    let index = batch.changes.values().flatten().map(|d| d.index()).max();
    let Some(index) = index else { return false };
    let mut entries = listing.entries.values();
    entries.any(|e| {
        let owner = e.doc.hancock.as_ref().map(|m| &m.app);
        owner == Some(&batch.app) && e.doc.index() > index
    })
}
