//! Where upstream documents live: the seam between the master that writes them and every balancer that reads them.
//!
//! - **Role**: one trait, [`UpstreamRegistry`], with an embedded implementation (the master's replicated state) and an in-memory one
//!   for tests; and [`watcher::Watcher`], the machine without I/O that tells removal from absence for every reader.
//! - **Data in**: batches of documents under a fence. **Data out**: listings, changes, and from the watcher what a balancer shall apply.
//! - **Invariants**: a batch is written whole or not at all; a former leader's fence loses; a document goes away only by a delete or
//!   by a list that proves it (same cluster, revision not behind, fence present).
//! - **Never**: empties a service because data is missing.

pub mod embedded;
pub mod fake;
mod follow;
mod open;
pub mod paths;
pub mod watcher;

pub use open::Opener;

#[cfg(any(test, feature = "contract"))]
pub mod contract;

use async_trait::async_trait;
use hancock_proto::ids::Revision;
use hancock_proto::registry::{Batch, Change, Fence, Listing, Outcome};
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
}

/// A running watch; ends when dropped or when the store goes away.
pub type Watch = mpsc::Receiver<WatchItem>;

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchItem {
    /// Changes, oldest first, complete up to `revision`.
    Changes {
        /// Where the watch is after these.
        revision: Revision,
        /// The changes.
        changes: Vec<Change>,
    },
    /// The asked revision is gone: list, then watch from there.
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
    /// No registry of this kind is known.
    #[error(
        "{url} cannot be used: this version knows no such registry; `embedded` is always there"
    )]
    Unsupported {
        /// The address.
        url: String,
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
