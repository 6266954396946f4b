//! Where upstream documents live: the seam between the master that writes them and every balancer that reads them.
//!
//! - **Role**: one trait, [`UpstreamRegistry`], with an implementation over an etcd, an embedded one (the master's replicated state) and an
//!   in-memory one for tests; [`watcher::Watcher`], the machine without I/O that tells removal from absence for every reader; and
//!   [`feed::Feed`], the loop around it.
//! - **Data in**: batches of documents under a fence. **Data out**: listings, changes, and from the watcher what a balancer shall apply.
//! - **Invariants**: a batch is written whole or not at all; a former leader's fence loses; a document goes away only by a delete or
//!   by a list that proves it (same cluster, revision not behind, fence present).
//! - **Never**: empties a service because data is missing.

pub mod embedded;
pub mod etcd;
pub mod fake;
pub mod feed;
mod follow;
pub mod mark;
pub mod memory;
mod open;
pub mod paths;
pub mod watcher;

pub use open::Opener;

#[cfg(any(test, feature = "contract"))]
pub mod contract;

use async_trait::async_trait;
use hancock_proto::ids::Revision;
use hancock_proto::registry::{Batch, Change, Confirmation, Fence, Listing, Outcome, Reader};
use hancock_proto::service::ServiceName;
use mark::Mark;
use tokio::sync::mpsc;

/// A store of upstream documents.
#[async_trait]
pub trait UpstreamRegistry: Send + Sync {
    /// Raises the fence at the start of a term. `Some` is the higher fence that rules instead.
    ///
    /// # Errors
    /// The store could not be reached.
    async fn raise(&self, fence: &Fence) -> Result<Option<Fence>, RegistryError>;

    /// Writes one batch in one transaction, if `fence` still rules.
    ///
    /// # Errors
    /// The store could not be reached; nothing was written. A lost *answer* is [`Outcome::Unknown`], not an error.
    async fn publish(&self, batch: &Batch, fence: &Fence) -> Result<Outcome, RegistryError>;

    /// Writes one batch into a store that has no fence, and so proves nothing about what it lacks. False: it has one, nothing was written.
    /// A leader does it with everything, before [`UpstreamRegistry::raise`] makes absence mean something. Stores that cannot lose their
    /// fence need not.
    ///
    /// # Errors
    /// The store could not be reached, or no answer came; it may be repeated.
    async fn fill(&self, batch: &Batch) -> Result<bool, RegistryError> {
        let _ = batch;
        Ok(false)
    }

    /// Everything, as of one revision.
    ///
    /// # Errors
    /// The store could not be reached.
    async fn list(&self) -> Result<Listing, RegistryError>;

    /// Changes after `revision`, as they come.
    ///
    /// # Errors
    /// The store could not be reached. A revision too old is not an error: the first item says [`WatchItem::Compacted`].
    async fn watch_from(&self, revision: Revision) -> Result<Watch, RegistryError>;

    /// What tells the history that was seen here from any other, for a reader that keeps it. None: nothing was seen, or the store has but
    /// one.
    fn mark(&self) -> Option<Mark> {
        None
    }

    /// What an earlier run kept of [`UpstreamRegistry::mark`]: the first list says whether the store is still that one.
    fn recall(&self, mark: Mark) {
        let _ = mark;
    }

    /// Tells the store what a reader serves, for as long as it is told again every few seconds. Stores whose readers report elsewhere
    /// take no notice.
    ///
    /// # Errors
    /// The store could not be reached, or refused.
    async fn confirm(&self, reader: &Confirmation) -> Result<(), RegistryError> {
        let _ = reader;
        Ok(())
    }

    /// The reader ends: it says so at once, and its word goes with its lease.
    async fn withdraw(&self) {}

    /// Everybody who confirms here and whose lease holds.
    ///
    /// # Errors
    /// The store could not be reached.
    async fn readers(&self) -> Result<Vec<Reader>, RegistryError> {
        Ok(Vec::new())
    }
}

/// A running watch; ends when dropped or when the store goes away.
pub type Watch = mpsc::Receiver<WatchItem>;

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchItem {
    /// Changes, oldest first, complete up to `revision`. None at all: the store is alive, and nothing happened.
    Changes {
        /// Where the watch is after these.
        revision: Revision,
        /// The changes.
        changes: Vec<Change>,
    },
    /// What was written under a name is no document: the one before stays.
    Damaged {
        /// Service name.
        name: ServiceName,
        /// What is wrong.
        problem: String,
    },
    /// The asked revision is gone, or of another history: list, then watch from there.
    Compacted,
}

/// Why a registry did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The store is not there.
    #[error("registry {store} cannot be reached: {reason}")]
    Unreachable {
        /// Which store.
        store: String,
        /// What went wrong.
        reason: String,
    },
    /// The store answered, and did nothing.
    #[error("registry {store} refused: {reason}")]
    Refused {
        /// Which store.
        store: String,
        /// What it said.
        reason: String,
    },
    /// The store has lost its fence, and so everything: all of it is to be written again before anything else.
    #[error("registry {store} has lost what was written; everything is to be written again")]
    Wiped {
        /// Which store.
        store: String,
    },
    /// No registry of this kind is known, or its address is not complete.
    #[error("{url} cannot be used: {problem}; `embedded` is always there")]
    Unsupported {
        /// The address.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A batch that is too large.
    #[error("batch of {count} names is larger than {max}; split the app's hosts over two apps")]
    TooLarge {
        /// Names in it.
        count: usize,
        /// Most names allowed.
        max: usize,
    },
}
