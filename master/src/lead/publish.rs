//! Writes an app's documents under the term's fence. An unknown end is not a failed one: it is read back before anything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use hancock_master_core::{Command, Publication};
use hancock_proto::ids::{AppName, Revision};
use hancock_proto::registry::{Batch, Fence, Listing, Outcome};
use hancock_proto::time::Timestamp;
use hancock_registry::{RegistryError, UpstreamRegistry};

/// Writes and read-backs of one publication before the loop turns to other work.
const TRIES: u32 = 4;

/// Publishes for one term.
pub(super) struct Publisher {
    registry: Arc<dyn UpstreamRegistry>,
    fence: Fence,
    raised: bool,
    /// A higher fence rules: nothing is published any more in this term.
    lost: bool,
    /// Publications whose end is not known. Nothing newer of the app goes out before.
    open: BTreeMap<AppName, Publication>,
    failing: bool,
}

enum End {
    Written(Revision),
    Lost(Fence),
    Open,
}

impl Publisher {
    pub(super) fn new(registry: Arc<dyn UpstreamRegistry>, fence: Fence) -> Self {
        Self {
            registry,
            fence,
            raised: false,
            lost: false,
            open: BTreeMap::new(),
            failing: false,
        }
    }

    /// Whether something is to be tried again soon.
    pub(super) fn is_waiting(&self) -> bool {
        !self.lost && (!self.raised || self.failing || !self.open.is_empty())
    }

    /// Raises the fence; tried again before each publish until it is known to be up.
    pub(super) async fn raise(&mut self) {
        match self.registry.raise(&self.fence).await {
            Ok(None) => self.raised = true,
            Ok(Some(higher)) => self.lose(&higher),
            Err(error) => self.complain(&error),
        }
    }

    /// Writes the documents; the command that records it, once they are known to be written.
    pub(super) async fn publish(
        &mut self,
        publication: &Publication,
        now: Timestamp,
    ) -> Option<Command> {
        if !self.raised && !self.lost {
            self.raise().await;
        }
        if !self.raised || self.lost {
            return None;
        }
        let open = self.open.get(&publication.app).cloned();
        let publication = open.unwrap_or_else(|| publication.clone());
        match self.write(&publication.batch).await {
            Ok(End::Written(revision)) => Some(self.written(publication, revision, now)),
            Ok(End::Lost(higher)) => {
                self.lose(&higher);
                None
            }
            Ok(End::Open) => {
                self.open.insert(publication.app.clone(), publication);
                None
            }
            Err(error) => {
                // The fence has gone with everything else.
                self.raised &= !matches!(error, RegistryError::Wiped { .. });
                self.complain(&error);
                None
            }
        }
    }

    /// Writes documents that nobody waits for; None: not known to be written.
    pub(super) async fn repair(&mut self, batch: &Batch) -> Option<Revision> {
        if !self.raised || self.lost {
            return None;
        }
        match self.write(batch).await {
            Ok(End::Written(revision)) => Some(revision),
            Ok(End::Lost(higher)) => {
                self.lose(&higher);
                None
            }
            Ok(End::Open) | Err(_) => None,
        }
    }

    fn written(&mut self, publication: Publication, revision: Revision, at: Timestamp) -> Command {
        self.open.remove(&publication.app);
        self.failing = false;
        tracing::debug!(app = %publication.app, index = %publication.index, %revision, "documents published");
        Command::Published {
            app: publication.app,
            index: publication.index,
            revision,
            outside: None,
            at,
        }
    }

    async fn write(&self, batch: &Batch) -> Result<End, RegistryError> {
        for _ in 0..TRIES {
            match self.registry.publish(batch, &self.fence).await? {
                Outcome::Committed(revision) => return Ok(End::Written(revision)),
                Outcome::Lost(higher) => return Ok(End::Lost(higher)),
                Outcome::Unknown => {}
            }
            let listing = self.registry.list().await?;
            if let Some(higher) = listing.fence.clone().filter(|have| *have != self.fence) {
                return Ok(End::Lost(higher));
            }
            if holds(&listing, batch) {
                return Ok(End::Written(listing.revision));
            }
            // Not written: the same bytes once more.
        }
        Ok(End::Open)
    }

    /// Another fence is there. A lower one of our own is of a store put back to an earlier state: ours is raised again.
    fn lose(&mut self, higher: &Fence) {
        if higher.cluster == self.fence.cluster && higher.term < self.fence.term {
            tracing::warn!(ours = ?self.fence, found = ?higher, "the registry has gone back to an earlier fence");
            self.raised = false;
            return;
        }
        tracing::warn!(ours = ?self.fence, ruling = ?higher, "another fence rules the registry; publishing stops for this term");
        self.lost = true;
    }

    fn complain(&mut self, error: &RegistryError) {
        if !self.failing {
            tracing::warn!(%error, "documents cannot be published; both old and new instances are kept until they can");
        }
        self.failing = true;
    }
}

/// Whether the listing is what the batch would have made of it.
fn holds(listing: &Listing, batch: &Batch) -> bool {
    batch.changes.iter().all(|(name, doc)| {
        let stored = listing.entries.get(name).map(|entry| &entry.doc);
        stored == doc.as_ref()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hancock_proto::ids::{DocIndex, Term};
    use hancock_proto::upstream::UpstreamDoc;
    use hancock_registry::fake::{Fake, Fault};

    use super::*;

    fn fence(term: u64) -> Fence {
        Fence {
            cluster: "c".parse().unwrap(),
            term: Term(term),
        }
    }

    fn publication(index: u64) -> Publication {
        let doc = UpstreamDoc {
            #[allow(clippy::cast_precision_loss)]
            timeout: Some(index as f64),
            ..UpstreamDoc::default()
        };
        Publication {
            app: "web".parse().unwrap(),
            index: DocIndex(index),
            batch: Batch {
                app: "web".parse().unwrap(),
                changes: BTreeMap::from([("web".parse().unwrap(), Some(Arc::new(doc)))]),
            },
        }
    }

    fn index_of(command: Option<Command>) -> Option<u64> {
        match command? {
            Command::Published { index, .. } => Some(index.0),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_lost_answer_is_read_back() {
        let fake = Fake::new();
        let mut publisher = Publisher::new(Arc::new(fake.clone()), fence(1));
        fake.inject(Fault::WrittenAnswerLost);
        let done = publisher.publish(&publication(1), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(1));
        fake.inject(Fault::NothingWrittenAnswerLost);
        let done = publisher.publish(&publication(2), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(2));
    }

    #[tokio::test]
    async fn nothing_newer_goes_out_before_the_end_is_known() {
        let fake = Fake::new();
        let mut publisher = Publisher::new(Arc::new(fake.clone()), fence(1));
        for _ in 0..TRIES {
            fake.inject(Fault::NothingWrittenAnswerLost);
        }
        assert_eq!(publisher.publish(&publication(1), Timestamp(1)).await, None);
        assert!(publisher.is_waiting());
        let done = publisher.publish(&publication(2), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(1), "the open one first");
        let done = publisher.publish(&publication(2), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(2));
    }

    #[tokio::test]
    async fn a_former_leader_stops_publishing() {
        let fake = Fake::new();
        let mut former = Publisher::new(Arc::new(fake.clone()), fence(1));
        former.raise().await;
        let mut leader = Publisher::new(Arc::new(fake.clone()), fence(2));
        leader.raise().await;
        assert_eq!(former.publish(&publication(1), Timestamp(1)).await, None);
        assert!(!former.is_waiting(), "it does not try again");
        let done = leader.publish(&publication(1), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(1));
    }

    #[tokio::test]
    async fn a_store_that_went_back_gets_the_fence_again() {
        let fake = Fake::new();
        let mut former = Publisher::new(Arc::new(fake.clone()), fence(1));
        former.publish(&publication(1), Timestamp(1)).await;
        let mut leader = Publisher::new(Arc::new(fake.clone()), fence(2));
        leader.raise().await;
        fake.wipe();
        former.raise().await;
        assert_eq!(leader.publish(&publication(2), Timestamp(1)).await, None);
        assert!(leader.is_waiting(), "it tries again");
        let done = leader.publish(&publication(2), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(2));
    }

    #[tokio::test]
    async fn an_unreachable_store_is_tried_again() {
        let fake = Fake::new();
        let mut publisher = Publisher::new(Arc::new(fake.clone()), fence(1));
        fake.inject(Fault::Unreachable);
        assert_eq!(publisher.publish(&publication(1), Timestamp(1)).await, None);
        assert!(publisher.is_waiting());
        let done = publisher.publish(&publication(1), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(1));
    }
}
