//! Keeps a reader in step with a registry: list, watch, go on where the watch broke, list again where that cannot be. It decides nothing:
//! what is applied says the [`Watcher`].

mod confirm;
mod standing;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::{BootId, DocIndex, NodeId};
use hancock_proto::registry::Listing;
use hancock_proto::report::ServiceReport;
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::UpstreamDoc;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::memory::{Memory, Record};
use crate::watcher::{Apply, Watcher};
use crate::{RegistryError, UpstreamRegistry, WatchItem};

pub use standing::{Standing, View};

/// First and longest pause after a registry did not answer.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A new highest revision is remembered at most so often.
const REMEMBER: Duration = Duration::from_secs(1);
/// Documents applied before others get a turn.
const SLICE: usize = 32;

/// Who serves what the registry holds.
pub trait Sink: Send + Sync + 'static {
    /// One change of one service. None: really deleted.
    ///
    /// # Errors
    /// The document is wrong; the last good one stays.
    fn apply(&self, name: &ServiceName, doc: Option<Arc<UpstreamDoc>>) -> Result<(), String>;

    /// How far it is with what was applied.
    fn settled(&self) -> Settled;

    /// Bumped when [`Sink::settled`] would answer something else.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// How far a sink is with what was applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settled {
    /// Documents that no master wrote and that are not on disk yet.
    pub unwritten: usize,
    /// Highest index of a master's document.
    pub index: DocIndex,
    /// A master's services that wait, were refused, or drain; at most so many as asked for.
    pub open: BTreeMap<ServiceName, ServiceReport>,
    /// There are more of them.
    pub more: bool,
}

/// Who a reader is, for what it tells the registry.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Its own name, different for each reader.
    pub id: String,
    /// The node it serves on.
    pub node: NodeId,
    /// This start of it.
    pub boot: BootId,
}

/// The loop.
pub struct Feed {
    registry: Arc<dyn UpstreamRegistry>,
    sink: Arc<dyn Sink>,
    standing: Arc<Standing>,
    watcher: Watcher,
    memory: Memory,
    remembered: Instant,
}

impl Feed {
    /// A feed that has not begun: what is remembered is owned from now on.
    pub fn new(registry: Arc<dyn UpstreamRegistry>, sink: Arc<dyn Sink>, memory: Memory) -> Self {
        let kept = memory.record();
        let mut watcher = Watcher::new();
        watcher.adopt(kept.cluster.clone(), kept.revision, kept.names.clone());
        if let Some(mark) = &kept.mark {
            registry.recall(mark.clone());
        }
        Self {
            registry,
            sink,
            standing: Arc::new(Standing::new(&kept.source, kept.names.clone())),
            watcher,
            memory,
            remembered: Instant::now(),
        }
    }

    /// Where it stands, from now on.
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.clone()
    }

    /// Runs until dropped, and tells the registry what is served when there is a `reader`.
    pub async fn run(self, reader: Option<Reader>) {
        let (registry, sink) = (self.registry.clone(), self.sink.clone());
        let standing = self.standing.clone();
        let telling = async {
            match reader {
                Some(reader) => confirm::run(&*registry, &*sink, &standing, &reader).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(self.follow(), telling);
    }

    async fn follow(mut self) {
        let mut pause = PAUSE.0;
        loop {
            let begun = Instant::now();
            match self.session().await {
                Ok(()) => self.standing.broken("the watch ended"),
                Err(error) => {
                    tracing::debug!(%error, "no word from the registry; what is known is served");
                    self.standing.broken(&error.to_string());
                }
            }
            if begun.elapsed() > PAUSE.1 * 2 {
                pause = PAUSE.0;
            }
            tokio::time::sleep(jitter(pause)).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// One watch, to its end, with a list before it where one is needed.
    async fn session(&mut self) -> Result<(), RegistryError> {
        let position = match self
            .watcher
            .revision()
            .filter(|_| !self.standing.is_behind())
        {
            Some(position) => position,
            None => {
                let listing = self.registry.list().await?;
                let revision = listing.revision;
                self.list(listing).await;
                revision
            }
        };
        let mut watch = self.registry.watch_from(position).await?;
        while let Some(item) = watch.recv().await {
            self.take(item).await;
        }
        Ok(())
    }

    async fn list(&mut self, listing: Listing) {
        let applies = self.watcher.list(&listing);
        self.standing
            .listed(&listing, self.watcher.orphaned().count());
        self.apply(applies).await;
        self.remember(true);
        self.standing.heard(listing.revision);
    }

    async fn take(&mut self, item: WatchItem) {
        match item {
            WatchItem::Changes { revision, changes } => {
                for change in &changes {
                    self.standing.good(&change.name);
                }
                let applies = self.watcher.changes(revision, &changes);
                self.apply(applies).await;
                self.standing
                    .heard(self.watcher.revision().unwrap_or(revision));
                self.remember(false);
            }
            WatchItem::Damaged { name, problem } => self.standing.damaged(name, problem),
            WatchItem::Compacted => self.standing.fell_behind(),
        }
    }

    async fn apply(&mut self, applies: Vec<Apply>) {
        let names = applies.iter().filter(|apply| apply.doc.is_some());
        if self.standing.own(names.map(|apply| &apply.name)) {
            // Before they are served: what is served and not remembered would be nobody's.
            self.remember(true);
        }
        for (at, Apply { name, doc }) in applies.into_iter().enumerate() {
            let gone = doc.is_none();
            match self.sink.apply(&name, doc) {
                Ok(()) => self.standing.applied(&name),
                Err(problem) => {
                    tracing::warn!(service = %name, problem, "a document of the registry was refused; the last good one is served");
                    self.standing.refused(name.clone(), problem);
                }
            }
            if gone {
                self.standing.disown(&name);
            }
            if at % SLICE == SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn remember(&mut self, at_once: bool) {
        if !at_once && self.remembered.elapsed() < REMEMBER {
            return;
        }
        self.remembered = Instant::now();
        let (cluster, revision) = self.watcher.proof();
        let record = Record {
            source: self.memory.record().source.clone(),
            cluster,
            revision,
            mark: self.registry.mark(),
            names: self.standing.owned(),
        };
        if let Err(error) = self.memory.keep(record) {
            tracing::warn!(%error, "cannot write down which documents are the registry's");
        }
    }
}

/// Between half of it and all: readers that lost the same store do not come back together.
pub fn jitter(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(0_u8) % 512;
    pause / 2 + pause * u32::try_from(share).unwrap_or(0) / 1024
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
