//! The registry inside a master's replicated state: writes are proposals, reads are snapshots.

use std::sync::Arc;

use async_trait::async_trait;
use hancock_proto::ids::Revision;
use hancock_proto::registry::{Batch, Fence, Listing, MAX_BATCH, Outcome, Store};
use tokio::sync::watch;

use crate::{RegistryError, UpstreamRegistry, Watch, follow};

/// What the embedded registry needs of a replicated state.
#[async_trait]
pub trait Replica: Send + Sync {
    /// Raises the fence through the log. `Some` is the higher fence that rules instead.
    ///
    /// # Errors
    /// The log could not be reached.
    async fn propose_raise(&self, fence: &Fence) -> Result<Option<Fence>, RegistryError>;

    /// Writes a batch through the log.
    ///
    /// # Errors
    /// The log could not be reached and nothing was written. Not knowing is [`Outcome::Unknown`].
    async fn propose_publish(&self, batch: &Batch, fence: &Fence)
    -> Result<Outcome, RegistryError>;

    /// The store as last applied.
    fn store(&self) -> Store;

    /// The store's revision, whenever it has changed.
    fn revisions(&self) -> watch::Receiver<Revision>;
}

/// A registry over a replicated state.
pub struct Embedded<R>(Arc<R>);

impl<R> Embedded<R> {
    /// The registry in `replica`.
    pub fn new(replica: Arc<R>) -> Self {
        Self(replica)
    }
}

impl<R> Clone for Embedded<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[async_trait]
impl<R: Replica + 'static> UpstreamRegistry for Embedded<R> {
    async fn raise(&self, fence: &Fence) -> Result<Option<Fence>, RegistryError> {
        self.0.propose_raise(fence).await
    }

    async fn publish(&self, batch: &Batch, fence: &Fence) -> Result<Outcome, RegistryError> {
        check_size(batch)?;
        self.0.propose_publish(batch, fence).await
    }

    async fn list(&self) -> Result<Listing, RegistryError> {
        Ok(self.0.store().list())
    }

    async fn watch_from(&self, revision: Revision) -> Result<Watch, RegistryError> {
        let replica = self.0.clone();
        let revisions = replica.revisions();
        Ok(follow::follow(revision, revisions, move || replica.store()))
    }
}

pub(crate) fn check_size(batch: &Batch) -> Result<(), RegistryError> {
    if batch.changes.len() > MAX_BATCH {
        return Err(RegistryError::TooLarge {
            count: batch.changes.len(),
            max: MAX_BATCH,
        });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::contract;
    use crate::fake::Fake;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::suite(|| {
            let replica = Fake::new();
            let registry = Embedded::new(Arc::new(replica.clone()));
            contract::Subject::new(Arc::new(registry), replica)
        })
        .await;
    }
}
