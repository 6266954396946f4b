//! Writing documents, as a leader does: into the replicated state, or into a store outside. An unknown end is not a failed one.

use std::collections::BTreeMap;

use hancock_master_core::Publication;
use hancock_master_core::command::{Command, Reply};
use hancock_proto::ids::{AppName, Revision, Term};
use hancock_proto::registry::{Batch, Fence, Listing, Outcome};

use crate::cluster::{Then, fence};
use crate::settings::Fault;
use crate::store::is_behind_listing;
use crate::world::{Event, World};

/// Writes and read-backs of one publication before the leader turns to other work.
const TRIES: u32 = 4;
/// How often a leader looks whether its fence still stands.
const LOOK: u64 = 3000;

/// What a leader asks the store.
#[derive(Clone)]
pub(crate) enum Ask {
    Raise,
    Publish(Publication, u32),
    /// After a lost answer: what is there?
    ReadBack(Publication, u32),
    /// Does our fence still stand?
    Look,
}

/// What it hears.
pub(crate) enum Answer {
    /// Whether the fence is up, and whether there was none.
    Raised(bool, bool),
    Published(Publication, u32, Outcome),
    Listed(Publication, u32, Listing),
    Looked(Listing),
    /// The store cannot be reached.
    Away(Ask),
}

/// What a leader remembers of its writing.
#[derive(Default)]
pub(crate) struct Publisher {
    pub(crate) raised: bool,
    /// A higher fence rules: nothing is published any more in this term.
    pub(crate) lost: bool,
    failing: bool,
    /// Publications whose end is not known. Nothing newer of the app goes out before.
    open: BTreeMap<AppName, Publication>,
}

impl Publisher {
    pub(crate) fn is_waiting(&self) -> bool {
        !self.lost && (!self.raised || self.failing || !self.open.is_empty())
    }
}

impl World {
    fn publisher(&mut self, master: usize) -> Option<&mut Publisher> {
        let lead = self.cluster.masters[master].lead.as_mut()?;
        Some(&mut lead.publisher)
    }

    fn ask(&mut self, master: usize, ask: Ask) {
        let Some(lead) = &self.cluster.masters[master].lead else {
            return;
        };
        let term = lead.term;
        let slow = self.settings.has(Fault::Store) && !self.peace && self.rng.percent(10);
        let delay = if slow {
            self.rng.between(200, 6000)
        } else {
            self.rng.between(1, 15)
        };
        self.after(delay, Event::Ask(master, term, ask));
    }

    pub(crate) fn ask_raise(&mut self, master: usize) {
        self.ask(master, Ask::Raise);
        self.ask(master, Ask::Look);
    }

    /// One publication, as the leader's next piece of work.
    pub(crate) fn publish(&mut self, master: usize, publication: Publication) {
        if !self.settings.external {
            let at = self.clock(master);
            let fence = fence(self.cluster.term);
            let batch = publication.batch.clone();
            let write = Command::RegistryPublish { batch, fence, at };
            return self.propose(master, write, Then::Written(publication));
        }
        let Some(publisher) = self.publisher(master) else {
            return;
        };
        if publisher.lost || !publisher.raised {
            let again = !publisher.lost;
            if again {
                self.ask(master, Ask::Raise);
            }
            return self.worked(master, false);
        }
        let open = publisher.open.get(&publication.app).cloned();
        self.ask(master, Ask::Publish(open.unwrap_or(publication), 1));
    }

    pub(crate) fn written_embedded(
        &mut self,
        master: usize,
        publication: Publication,
        reply: Reply,
    ) {
        match reply {
            Reply::Registry(Outcome::Committed(revision)) => {
                self.written(master, publication, revision);
            }
            _ => self.worked(master, false),
        }
    }

    fn written(&mut self, master: usize, publication: Publication, revision: Revision) {
        if let Some(publisher) = self.publisher(master) {
            publisher.open.remove(&publication.app);
            publisher.failing = false;
        }
        let published = Command::Published {
            app: publication.app,
            index: publication.index,
            revision,
            outside: None,
            at: self.clock(master),
        };
        self.propose(master, published, Then::Step);
    }

    /// The store's answer, if the leader that asked still is one.
    pub(crate) fn answered_by_store(&mut self, master: usize, term: Term, answer: Answer) {
        let lead = self.cluster.masters[master].lead.as_ref();
        if lead.is_none_or(|l| l.term != term) {
            return;
        }
        match answer {
            Answer::Raised(up, missing) => {
                if up && missing {
                    let listing = self.external.store.list();
                    self.republish(master, term, &listing);
                }
                self.raised(master, up);
            }
            Answer::Published(publication, _, Outcome::Committed(revision)) => {
                self.written(master, publication, revision);
            }
            Answer::Published(_, _, Outcome::Lost(rules)) => self.lose(master, &rules),
            Answer::Published(publication, tries, Outcome::Unknown) => {
                self.ask(master, Ask::ReadBack(publication, tries));
            }
            Answer::Listed(publication, tries, listing) => {
                self.read_back(master, term, publication, tries, &listing);
            }
            Answer::Looked(listing) => self.looked(master, term, &listing),
            Answer::Away(ask) => self.away(master, ask),
        }
    }

    /// A lower fence is of a store put back to an earlier state: ours is raised again.
    fn lose(&mut self, master: usize, rules: &Fence) {
        let Some(lead) = &mut self.cluster.masters[master].lead else {
            return;
        };
        match rules.term < lead.term {
            true => lead.publisher.raised = false,
            false => lead.publisher.lost = true,
        }
        self.worked(master, false);
    }

    fn away(&mut self, master: usize, ask: Ask) {
        match ask {
            // The term begins without: each publish tries again.
            Ask::Raise => {
                if let Some(lead) = &mut self.cluster.masters[master].lead
                    && !lead.started
                {
                    lead.started = true;
                    self.worked(master, false);
                }
            }
            Ask::Look => self.after_look(master),
            Ask::Publish(publication, _) | Ask::ReadBack(publication, _) => {
                if let Some(publisher) = self.publisher(master) {
                    publisher.failing = true;
                    publisher.open.insert(publication.app.clone(), publication);
                }
                self.worked(master, false);
            }
        }
    }

    fn read_back(
        &mut self,
        master: usize,
        term: Term,
        publication: Publication,
        tries: u32,
        listing: &Listing,
    ) {
        if let Some(rules) = listing.fence.as_ref().filter(|f| **f != fence(term)) {
            return self.lose(master, rules);
        }
        if listing.fence.is_none() && self.cluster.leader == Some(master) {
            self.republish(master, term, listing);
        }
        if holds(listing, &publication.batch) {
            return self.written(master, publication, listing.revision);
        }
        if is_behind_listing(listing, &publication.batch) {
            if let Some(publisher) = self.publisher(master) {
                publisher.open.remove(&publication.app);
            }
            return self.worked(master, false);
        }
        if tries < TRIES {
            return self.ask(master, Ask::Publish(publication, tries + 1));
        }
        if let Some(publisher) = self.publisher(master) {
            publisher.open.insert(publication.app.clone(), publication);
        }
        self.worked(master, false);
    }

    fn after_look(&mut self, master: usize) {
        let Some(lead) = &self.cluster.masters[master].lead else {
            return;
        };
        let term = lead.term;
        self.after(LOOK, Event::Ask(master, term, Ask::Look));
    }

    /// Whether everything the leader knows to be published is there.
    fn is_held(&self, master: usize, listing: &Listing) -> bool {
        let state = &self.cluster.masters[master].state;
        let published = state.apps.values().filter(|app| app.routes.is_published());
        let mut batches = published.filter_map(|app| hancock_master_core::batch(state, &app.name));
        let held =
            batches.all(|batch| holds(listing, &batch) || is_behind_listing(listing, &batch));
        let mut ours = listing.entries.iter().filter_map(|(name, entry)| {
            let member = entry.doc.hancock.as_ref()?;
            Some((name, &member.app))
        });
        // An app that is gone, or went and came back with other names, left nothing behind.
        held && ours.all(|(name, app)| {
            let batch = hancock_master_core::batch(state, app);
            batch.is_some_and(|batch| batch.changes.contains_key(name))
        })
    }

    /// A leader that finds its fence missing or lower, or a document gone back, writes everything again before anything else.
    fn looked(&mut self, master: usize, term: Term, listing: &Listing) {
        let stands = listing.fence.as_ref().is_some_and(|f| f.term >= term);
        let sound = stands && self.is_held(master, listing);
        if !sound && self.cluster.leader == Some(master) {
            self.say(|_| format!("m{master} finds its store changed and writes everything again"));
            self.republish(master, term, listing);
        }
        self.after_look(master);
    }
}

/// Whether the listing is what the batch would have made of it.
fn holds(listing: &Listing, batch: &Batch) -> bool {
    batch.changes.iter().all(|(name, doc)| {
        let stored = listing.entries.get(name).map(|entry| &entry.doc);
        stored == doc.as_ref()
    })
}
