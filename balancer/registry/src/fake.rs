//! A registry in memory for tests: a working one, with faults on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hancock_proto::ids::Revision;
use hancock_proto::registry::{Batch, Confirmation, Fence, Listing, Outcome, Reader, Store};
use tokio::sync::watch;

use crate::embedded::{Replica, check_size};
use crate::{RegistryError, UpstreamRegistry, Watch, follow};

/// What happens to one of the next publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered only after so long.
    Slow(Duration),
    /// Written, but the answer is lost.
    WrittenAnswerLost,
    /// Not written, and the answer is lost.
    NothingWrittenAnswerLost,
    /// The store cannot be reached.
    Unreachable,
}

/// The registry. Clones share one store.
#[derive(Clone)]
pub struct Fake {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    store: Store,
    revisions: watch::Sender<Revision>,
    faults: VecDeque<Fault>,
    lists: u64,
    calls: u64,
    away: bool,
    readers: BTreeMap<String, Reader>,
}

impl Default for Fake {
    fn default() -> Self {
        let inner = Inner {
            store: Store::default(),
            revisions: watch::Sender::new(Revision(0)),
            faults: VecDeque::new(),
            lists: 0,
            calls: 0,
            away: false,
            readers: BTreeMap::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }
}

impl Fake {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a fault in line: each publish takes one.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push_back(fault);
    }

    /// Forgets the past: watches that are behind must list.
    pub fn compact(&self) {
        self.lock().store.compact();
    }

    /// Nobody reaches it any more, or again; watches break.
    pub fn away(&self, away: bool) {
        self.lock().away = away;
        if away {
            self.cut_watches();
        }
    }

    /// How often it was listed, watched or published to.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// One call comes in.
    fn reached(&self) -> Result<(), RegistryError> {
        let mut inner = self.lock();
        inner.calls += 1;
        match inner.away {
            true => Err(unreachable()),
            false => Ok(()),
        }
    }

    /// How often it was listed.
    pub fn lists(&self) -> u64 {
        self.lock().lists
    }

    /// A reader's lease is over: its word goes.
    pub fn forget(&self, reader: &str) {
        self.lock().readers.remove(reader);
    }

    /// Ends every running watch, as a broken connection does.
    pub fn cut_watches(&self) {
        let mut inner = self.lock();
        inner.revisions = watch::Sender::new(inner.store.revision());
    }

    /// Loses everything, the fence included.
    pub fn wipe(&self) {
        let mut inner = self.lock();
        inner.store = Store::default();
        inner.revisions.send_replace(Revision(0));
    }

    // A panic elsewhere cannot leave a half-written store: every change is one call.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, batch: &Batch, fence: &Fence) -> Outcome {
        let mut inner = self.lock();
        let outcome = inner.store.publish(batch, fence);
        let revision = inner.store.revision();
        inner.revisions.send_replace(revision);
        outcome
    }
}

/// The store behind the registry; faults strike here, so that [`crate::embedded::Embedded`] over it has them too.
#[async_trait]
impl Replica for Fake {
    async fn propose_raise(&self, fence: &Fence) -> Result<Option<Fence>, RegistryError> {
        let mut inner = self.lock();
        let raised = inner.store.raise(fence);
        Ok(if raised {
            None
        } else {
            inner.store.list().fence
        })
    }

    async fn propose_publish(
        &self,
        batch: &Batch,
        fence: &Fence,
    ) -> Result<Outcome, RegistryError> {
        let fault = self.lock().faults.pop_front();
        match fault {
            None => Ok(self.write(batch, fence)),
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                Ok(self.write(batch, fence))
            }
            Some(Fault::WrittenAnswerLost) => {
                self.write(batch, fence);
                Ok(Outcome::Unknown)
            }
            Some(Fault::NothingWrittenAnswerLost) => Ok(Outcome::Unknown),
            Some(Fault::Unreachable) => Err(unreachable()),
        }
    }

    fn store(&self) -> Store {
        self.lock().store.clone()
    }

    fn revisions(&self) -> watch::Receiver<Revision> {
        self.lock().revisions.subscribe()
    }
}

#[async_trait]
impl UpstreamRegistry for Fake {
    async fn raise(&self, fence: &Fence) -> Result<Option<Fence>, RegistryError> {
        self.propose_raise(fence).await
    }

    async fn publish(&self, batch: &Batch, fence: &Fence) -> Result<Outcome, RegistryError> {
        check_size(batch)?;
        self.reached()?;
        self.propose_publish(batch, fence).await
    }

    async fn list(&self) -> Result<Listing, RegistryError> {
        self.reached()?;
        self.lock().lists += 1;
        Ok(self.store().list())
    }

    async fn watch_from(&self, revision: Revision) -> Result<Watch, RegistryError> {
        self.reached()?;
        let shared = self.clone();
        let revisions = self.revisions();
        Ok(follow::follow(revision, revisions, move || shared.store()))
    }

    async fn confirm(&self, reader: &Confirmation) -> Result<(), RegistryError> {
        let (name, told) = (reader.reader.clone(), Some(reader.clone()));
        let known = Reader {
            name: name.clone(),
            told,
        };
        self.lock().readers.insert(name, known);
        Ok(())
    }

    async fn readers(&self) -> Result<Vec<Reader>, RegistryError> {
        Ok(self.lock().readers.values().cloned().collect())
    }
}

fn unreachable() -> RegistryError {
    RegistryError::Unreachable {
        store: "memory".into(),
        reason: "told to be away".into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::suite(|| {
            let fake = Fake::new();
            contract::Subject::new(Arc::new(fake.clone()), fake)
        })
        .await;
    }

    #[tokio::test]
    async fn a_cut_watch_ends() {
        let fake = Fake::new();
        let mut watch = fake.watch_from(Revision(0)).await.unwrap();
        fake.cut_watches();
        let ended = tokio::time::timeout(Duration::from_secs(5), watch.recv()).await;
        assert_eq!(ended.unwrap(), None);
    }
}
