//! Registries outside of the masters: the one in force, and the one a switch leads to.
//!
//! The embedded registry is always written first; these follow it. A keeper looks at each of them every few seconds and puts right what was
//! lost, rolled back, or written by somebody else; the same work fills one that was just chosen. Every call of a registry has a deadline of
//! its own, and none is given up half done: what it did would not be known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hancock_master_core::state::Elsewhere;
use hancock_master_core::{Command, Publication, Reply, repairs};
use hancock_proto::ids::Revision;
use hancock_proto::registry::{Batch, Choice, Fence, Listing};
use hancock_proto::service::ServiceName;
use hancock_registry::{Opener, RegistryError, UpstreamRegistry};
use tokio::sync::Mutex;

use super::publish::Publisher;
use crate::deps::Deps;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(3);
/// The same while one is being filled, or when the last look failed.
const SOON: Duration = Duration::from_millis(250);
/// Names told of one repair.
const TOLD: usize = 8;
/// Time between two looks at who reads a registry, while somebody waits for them, and otherwise.
const READERS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));

/// The open ones of one term, by number of the choice.
pub(super) struct Outside {
    opener: Opener,
    fence: Fence,
    stores: Mutex<BTreeMap<u64, Arc<Store>>>,
}

/// One of them. The lock makes a look with its repairs, and a publish, one after the other.
struct Store {
    registry: Arc<dyn UpstreamRegistry>,
    publisher: Mutex<Keeping>,
}

struct Keeping {
    publisher: Publisher,
    /// It has held everything once: what is wrong from then on is somebody else's doing.
    whole: bool,
}

impl Outside {
    pub(super) fn new(opener: Opener, fence: Fence) -> Self {
        Self {
            opener,
            fence,
            stores: Mutex::default(),
        }
    }

    /// Writes what the embedded registry has just taken, where that is needed to count as published. None: not known to be written.
    pub(super) async fn publish(
        &self,
        deps: &Deps,
        publication: &Publication,
    ) -> Option<Option<Elsewhere>> {
        let newest = deps.raft.newest();
        let choice = newest.state().choosing.now.clone();
        if choice.url.is_embedded() {
            return Some(None);
        }
        let store = self.store(&choice).await?;
        let mut keeping = store.publisher.lock().await;
        let done = keeping.publisher.publish(publication, deps.now()).await;
        let Some(Command::Published {
            index, revision, ..
        }) = done
        else {
            return None;
        };
        let (choice, batch) = (choice.number, &publication.batch);
        // An earlier publication whose end was not known comes first.
        (index >= publication.index).then(|| {
            deps.view().outside_mut().written(choice, batch, revision);
            Some(Elsewhere { choice, revision })
        })
    }

    /// Listens to those who read these registries and are no agents; never returns.
    pub(super) async fn hear(&self, deps: &Deps) {
        let mut applied = deps.raft.applied();
        loop {
            applied.borrow_and_update();
            let begun = tokio::time::Instant::now();
            self.hear_all(deps).await;
            loop {
                let pause = match is_waited_for(deps) {
                    true => READERS.0,
                    false => READERS.1,
                };
                tokio::select! {
                    changed = applied.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep_until(begun + pause) => break,
                }
            }
        }
    }

    async fn hear_all(&self, deps: &Deps) {
        let choosing = deps.raft.newest().state().choosing.clone();
        let wanted: Vec<Choice> = choosing.outside().cloned().collect();
        let numbers = wanted.iter().map(|choice| choice.number).collect();
        deps.view().outside_mut().keep(&numbers);
        for choice in &wanted {
            let Some(store) = self.store(choice).await else {
                continue;
            };
            match store.registry.readers().await {
                Ok(readers) => {
                    let now = deps.now();
                    let mut view = deps.view();
                    if view.outside_mut().heard(choice.number, readers, now) {
                        deps.nudge();
                    }
                }
                Err(error) => tracing::debug!(%error, "the readers of a registry are not known"),
            }
        }
    }

    async fn store(&self, choice: &Choice) -> Option<Arc<Store>> {
        let mut stores = self.stores.lock().await;
        if let Some(store) = stores.get(&choice.number) {
            return Some(store.clone());
        }
        let opened = self.opener.open(&choice.url);
        let registry = opened
            .inspect_err(|error| tracing::error!(%error, "the registry chosen cannot be opened"))
            .ok()?;
        let keeping = Keeping {
            publisher: Publisher::new(registry.clone(), self.fence.clone()),
            whole: false,
        };
        let store = Arc::new(Store {
            registry,
            publisher: Mutex::new(keeping),
        });
        stores.insert(choice.number, store.clone());
        Some(store)
    }

    /// Looks after all of them; never returns.
    pub(super) async fn keep(&self, deps: &Deps) {
        let mut applied = deps.raft.applied();
        loop {
            applied.borrow_and_update();
            let wait = match self.look_at_all(deps).await {
                true => LOOK,
                false => SOON,
            };
            let chosen = deps.raft.newest().state().choosing.clone();
            let until = tokio::time::Instant::now() + wait;
            // Another choice is looked at without delay.
            while deps.raft.newest().state().choosing == chosen {
                tokio::select! {
                    changed = applied.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep_until(until) => break,
                }
            }
        }
    }

    /// True: all of them are as they should be.
    async fn look_at_all(&self, deps: &Deps) -> bool {
        let choosing = deps.raft.newest().state().choosing.clone();
        let wanted: Vec<Choice> = choosing.outside().cloned().collect();
        let numbers: BTreeSet<u64> = wanted.iter().map(|choice| choice.number).collect();
        self.stores.lock().await.retain(|n, _| numbers.contains(n));
        let mut sound = true;
        for choice in &wanted {
            let Some(store) = self.store(choice).await else {
                sound = false;
                continue;
            };
            sound &= match store.look(deps, choice, &self.fence).await {
                Some(seen) => {
                    seen.tell(deps, choice).await;
                    seen.wrong.is_empty()
                }
                None => false,
            };
        }
        sound
    }
}

/// What a look found.
struct Seen {
    wrong: Vec<Batch>,
    /// It was whole before.
    was_whole: bool,
    /// Revision of its newest document.
    revision: Revision,
}

impl Store {
    /// Compares the store with the embedded registry and writes what differs; None: it cannot be reached, or a higher fence rules.
    async fn look(&self, deps: &Deps, choice: &Choice, fence: &Fence) -> Option<Seen> {
        let mut keeping = self.publisher.lock().await;
        let complain =
            |error: RegistryError| tracing::debug!(%error, "a registry cannot be looked at");
        let found = self.registry.list().await.map_err(complain).ok()?;
        deps.view().outside_mut().listed(choice.number, &found);
        let wanted = deps.raft.newest().state().registry.list();
        let wrong = repairs(&wanted, &found);
        if found.fence.is_none() {
            // Behind a fence, what is not there counts as gone: a store without one is filled first.
            for batch in &wrong {
                self.registry.fill(batch).await.map_err(complain).ok()?;
            }
        }
        if found.fence.as_ref() != Some(fence) {
            keeping.publisher.raise().await;
        }
        for batch in &wrong {
            let revision = keeping.publisher.repair(batch).await?;
            deps.view()
                .outside_mut()
                .written(choice.number, batch, revision);
        }
        let was_whole = keeping.whole;
        keeping.whole |= wrong.is_empty();
        Some(Seen {
            revision: newest(&found),
            wrong,
            was_whole,
        })
    }
}

/// Somebody has to confirm something.
fn is_waited_for(deps: &Deps) -> bool {
    let newest = deps.raft.newest();
    let state = newest.state();
    let mut apps = state.apps.values();
    state.choosing.outside().next().is_some() && apps.any(|app| !app.routes.cutovers.is_empty())
}

fn newest(listing: &Listing) -> Revision {
    let revisions = listing.entries.values().map(|entry| entry.revision);
    revisions.max().unwrap_or_default()
}

impl Seen {
    /// What follows for everybody.
    async fn tell(&self, deps: &Deps, choice: &Choice) {
        let (at, number) = (deps.now(), choice.number);
        let next = deps.raft.newest().state().choosing.next.clone();
        let filling = next.is_some_and(|next| next.to == *choice && next.filled.is_none());
        let command = if filling && self.wrong.is_empty() {
            let revision = self.revision;
            Command::RegistryFilled {
                number,
                revision,
                at,
            }
        } else if self.was_whole && !self.wrong.is_empty() {
            let names: BTreeSet<ServiceName> = self
                .wrong
                .iter()
                .flat_map(|b| b.changes.keys().cloned())
                .collect();
            tracing::warn!(url = %choice.url, names = names.len(), "a registry held other documents than it should; they were written again");
            Command::RegistryRepaired {
                number,
                count: names.len() as u64,
                names: names.into_iter().take(TOLD).collect(),
                at,
            }
        } else {
            return;
        };
        match deps.propose(command).await {
            Ok(Reply::Refused(error)) => tracing::debug!(message = error.message, "step refused"),
            Ok(_) => {}
            // The next look says it again.
            Err(error) => tracing::debug!(%error, "not proposed"),
        }
    }
}
