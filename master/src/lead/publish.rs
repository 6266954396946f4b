//! Writes an app's documents under the term's fence, into every registry there is. An unknown end is not a failed one: it is read back
//! before anything else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hancock_master_core::{Command, Publication};
use hancock_proto::ids::{AppName, Revision};
use hancock_proto::registry::{Batch, Fence, Listing, Outcome};
use hancock_proto::time::Timestamp;
use hancock_registry::{RegistryError, UpstreamRegistry};
use tokio::time::{Instant, timeout};

/// Writes and read-backs of one publication before the loop turns to other work.
const TRIES: u32 = 4;
/// Time a registry outside has for one publication.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause after it did not answer: a store that hangs must not hold up everything else a leader does.
const REST: Duration = Duration::from_secs(1);

/// A registry that is written.
#[derive(Clone)]
pub(crate) struct Target {
    /// The registry.
    pub(crate) registry: Arc<dyn UpstreamRegistry>,
    /// Others can change or lose it: what lies there is compared when a term begins.
    pub(crate) outside: bool,
}

/// Publishes for one term.
pub(super) struct Publisher<'a> {
    targets: &'a [Target],
    fence: Fence,
    /// Everything that is published, as it should lie there.
    published: Box<dyn Fn() -> Vec<Batch> + Send + Sync + 'a>,
    /// How many of the targets have the fence.
    raised: usize,
    /// A higher fence rules: nothing is published any more in this term.
    lost: bool,
    /// Publications whose end is not known. Nothing newer of the app goes out before.
    open: BTreeMap<AppName, Publication>,
    failing: bool,
    /// Nothing is tried before.
    resting: Option<Instant>,
}

enum End {
    Written(Revision),
    Lost(Fence),
    Open,
}

impl<'a> Publisher<'a> {
    /// A publisher to `targets`, in this order: the last one's revisions count.
    pub(super) fn new(
        targets: &'a [Target],
        fence: Fence,
        published: impl Fn() -> Vec<Batch> + Send + Sync + 'a,
    ) -> Self {
        Self {
            targets,
            fence,
            published: Box::new(published),
            raised: 0,
            lost: false,
            open: BTreeMap::new(),
            failing: false,
            resting: None,
        }
    }

    /// Whether something is to be tried again soon.
    pub(super) fn is_waiting(&self) -> bool {
        !self.lost && (!self.is_raised() || self.failing || !self.open.is_empty())
    }

    /// None: it took too long, and may still be done.
    async fn in_time<T>(&self, deed: impl Future<Output = T>) -> Option<T> {
        match self.targets.iter().any(|target| target.outside) {
            true => timeout(PATIENCE, deed).await.ok(),
            false => Some(deed.await),
        }
    }

    fn is_raised(&self) -> bool {
        self.raised == self.targets.len()
    }

    /// Raises the fence; tried again before each publish until it is known to be up everywhere.
    pub(super) async fn raise(&mut self) {
        while let Some(target) = self.targets.get(self.raised).filter(|_| !self.lost) {
            match self.in_time(self.begin(target)).await {
                Some(Ok(None)) => self.raised += 1,
                Some(Ok(Some(higher))) => self.lose(&higher),
                Some(Err(error)) => return self.complain(&error),
                None => return self.rest(),
            }
        }
    }

    /// Makes a target this term's. A store without a fence is filled first: with one, what it lacks would count as gone.
    async fn begin(&self, target: &Target) -> Result<Option<Fence>, RegistryError> {
        let registry = &*target.registry;
        if !target.outside {
            return registry.raise(&self.fence).await;
        }
        let published = (self.published)();
        let listing = registry.list().await?;
        let missing = published.iter().filter(|batch| !holds(&listing, batch));
        // What does not fit into the time is there already when it is tried again.
        for batch in missing.filter(|_| listing.fence.is_none()) {
            registry.fill(batch).await?;
        }
        let higher = registry.raise(&self.fence).await?;
        if higher.is_none() {
            self.mend(registry, &published).await?;
        }
        Ok(higher)
    }

    /// Writes again what lies there otherwise: an older copy of the store, or what somebody else wrote.
    async fn mend(
        &self,
        registry: &dyn UpstreamRegistry,
        published: &[Batch],
    ) -> Result<(), RegistryError> {
        let listing = registry.list().await?;
        for batch in published.iter().filter(|batch| !holds(&listing, batch)) {
            tracing::warn!(app = %batch.app, "the registry held other documents than were published; they are written again");
            registry.publish(batch, &self.fence).await?;
        }
        Ok(())
    }

    /// Writes the documents; the command that records it, once they are known to be written.
    pub(super) async fn publish(
        &mut self,
        publication: &Publication,
        now: Timestamp,
    ) -> Option<Command> {
        if self.resting.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        self.raise().await;
        if !self.is_raised() || self.lost {
            return None;
        }
        let open = self.open.get(&publication.app).cloned();
        let publication = open.unwrap_or_else(|| publication.clone());
        let written = self.in_time(self.write(&publication.batch)).await;
        match written.unwrap_or(Ok(End::Open)) {
            Ok(End::Written(revision)) => Some(self.written(publication, revision, now)),
            Ok(End::Lost(higher)) => {
                self.lose(&higher);
                None
            }
            Ok(End::Open) => {
                self.open.insert(publication.app.clone(), publication);
                self.rest();
                None
            }
            Err(error) => {
                if let RegistryError::Wiped { .. } = error {
                    self.raised = 0;
                }
                self.complain(&error);
                None
            }
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
            at,
        }
    }

    async fn write(&self, batch: &Batch) -> Result<End, RegistryError> {
        let mut written = Revision(0);
        for target in self.targets {
            match self.write_to(&*target.registry, batch).await? {
                End::Written(revision) => written = revision,
                other => return Ok(other),
            }
        }
        Ok(End::Written(written))
    }

    async fn write_to(
        &self,
        registry: &dyn UpstreamRegistry,
        batch: &Batch,
    ) -> Result<End, RegistryError> {
        for _ in 0..TRIES {
            match registry.publish(batch, &self.fence).await? {
                Outcome::Committed(revision) => return Ok(End::Written(revision)),
                Outcome::Lost(higher) => return Ok(End::Lost(higher)),
                Outcome::Unknown => {}
            }
            let listing = match registry.list().await {
                Ok(listing) => listing,
                // What was written may still come to light.
                Err(error) => {
                    tracing::warn!(app = %batch.app, %error, "documents cannot be read back yet");
                    return Ok(End::Open);
                }
            };
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

    fn lose(&mut self, higher: &Fence) {
        tracing::warn!(ours = ?self.fence, ruling = ?higher, "another fence rules the registry; publishing stops for this term");
        self.lost = true;
    }

    fn rest(&mut self) {
        if self.targets.iter().any(|target| target.outside) {
            self.resting = Some(Instant::now() + REST);
        }
    }

    fn complain(&mut self, error: &RegistryError) {
        self.rest();
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

    fn targets(fakes: &[&Fake]) -> Vec<Target> {
        let target = |fake: &&Fake| Target {
            registry: Arc::new((*fake).clone()),
            outside: false,
        };
        fakes.iter().map(target).collect()
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
        let targets = targets(&[&fake]);
        let mut publisher = Publisher::new(&targets, fence(1), Vec::new);
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
        let targets = targets(&[&fake]);
        let mut publisher = Publisher::new(&targets, fence(1), Vec::new);
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
        let targets = targets(&[&fake]);
        let mut former = Publisher::new(&targets, fence(1), Vec::new);
        former.raise().await;
        let mut leader = Publisher::new(&targets, fence(2), Vec::new);
        leader.raise().await;
        assert_eq!(former.publish(&publication(1), Timestamp(1)).await, None);
        assert!(!former.is_waiting(), "it does not try again");
        let done = leader.publish(&publication(1), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(1));
    }

    #[tokio::test]
    async fn an_unreachable_store_is_tried_again() {
        let fake = Fake::new();
        let targets = targets(&[&fake]);
        let mut publisher = Publisher::new(&targets, fence(1), Vec::new);
        fake.inject(Fault::Unreachable);
        assert_eq!(publisher.publish(&publication(1), Timestamp(1)).await, None);
        assert!(publisher.is_waiting());
        let done = publisher.publish(&publication(1), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(1));
    }

    #[tokio::test]
    async fn every_registry_is_written_and_the_last_one_counts() {
        let (first, last) = (Fake::new(), Fake::new());
        let targets = targets(&[&first, &last]);
        let mut publisher = Publisher::new(&targets, fence(1), Vec::new);
        last.inject(Fault::Unreachable);
        assert_eq!(publisher.publish(&publication(1), Timestamp(1)).await, None);
        assert_eq!(first.list().await.unwrap().entries.len(), 1);
        let done = publisher.publish(&publication(1), Timestamp(1)).await;
        assert_eq!(index_of(done), Some(1));
        let written = last.list().await.unwrap();
        assert_eq!(
            written.entries["web"].doc,
            first.list().await.unwrap().entries["web"].doc
        );
    }

    #[tokio::test]
    async fn what_was_lost_or_changed_is_written_again_when_a_term_begins() {
        let fake = Fake::new();
        let mut targets = targets(&[&fake]);
        targets[0].outside = true;
        let everything = || vec![publication(1).batch];
        let mut publisher = Publisher::new(&targets, fence(1), everything);
        publisher.raise().await;
        let held = |listing: &Listing| listing.entries["web"].doc.timeout;
        assert_eq!(held(&fake.list().await.unwrap()), Some(1.0));
        let foreign = publication(7).batch;
        fake.publish(&foreign, &fence(1)).await.unwrap();
        let mut next = Publisher::new(&targets, fence(2), everything);
        next.raise().await;
        let listing = fake.list().await.unwrap();
        assert_eq!((held(&listing), listing.fence), (Some(1.0), Some(fence(2))));
    }

    #[tokio::test]
    async fn a_registry_that_hangs_holds_nothing_up() {
        let fake = Fake::new();
        let mut targets = targets(&[&fake]);
        targets[0].outside = true;
        let mut publisher = Publisher::new(&targets, fence(1), Vec::new);
        publisher.raise().await;
        fake.inject(Fault::Slow(Duration::from_secs(60)));
        let begun = Instant::now();
        assert_eq!(publisher.publish(&publication(1), Timestamp(1)).await, None);
        assert_eq!(publisher.publish(&publication(1), Timestamp(1)).await, None);
        assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
        assert!(publisher.is_waiting());
        let again = || async {
            let mut again = Publisher::new(&targets, fence(1), Vec::new);
            index_of(again.publish(&publication(1), Timestamp(1)).await).ok_or("not yet")
        };
        let wait = hancock_testkit::wait::wait_for_async("a store that answers", PATIENCE, again);
        assert_eq!(wait.await, 1);
    }
}
