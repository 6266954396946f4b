//! The registry in an etcd of one's own, over its v3 interface.
//!
//! - **Role**: the one place that speaks to etcd. Keys are a Slardar's: `<prefix>upstreams/<host>`, `<prefix>upstreams_stream/<port>`;
//!   ours are `<prefix>hancock/fence` and `<prefix>hancock/readers/<id>`.
//! - **Invariants**: a batch is one transaction over fence and keys; every call has a deadline; a watch resumes only in the history it
//!   began in; a value that is no document is told and never taken for absence.
//! - **Never**: repeats a write whose end it does not know, waits for a member that is silent.

mod address;
mod calls;
mod history;
mod keys;
mod read;
mod readers;
mod watch;
mod write;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hancock_proto::ids::Revision;
use hancock_proto::registry::{Batch, Confirmation, Fence, Listing, Outcome, Reader};

use crate::mark::Mark;
use crate::{RegistryError, UpstreamRegistry, Watch};
use calls::Calls;
use history::History;
use keys::Keys;

pub use address::{Address, InvalidAddress};

/// What is needed to use an etcd.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is.
    pub address: Address,
    /// How to know it, and to be known. None: plain connections.
    pub tls: Option<Tls>,
    /// How long to wait for what.
    pub timing: Timing,
    /// Any number, different for each process: which member is asked first.
    pub seed: usize,
}

impl Options {
    /// Plain connections with the usual patience; each process asks another member first.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            tls: None,
            timing: Timing::default(),
            seed: usize::try_from(std::process::id()).unwrap_or_default(),
        }
    }
}

/// Certificates, as PEM.
#[derive(Clone)]
pub struct Tls {
    /// Who signs the members' certificates.
    pub ca: Vec<u8>,
    /// Our own certificate and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For one member to be reached and to answer.
    pub connect: Duration,
    /// For the answer to one call.
    pub call: Duration,
    /// Silence of a watch after which a sign of life is asked for. Questions are what idle readers cost a store most, and pings notice a
    /// member that is gone or stands still sooner: this is for a watch that hangs in one that is well otherwise.
    pub ask: Duration,
    /// Silence of a watch after which its member is left.
    pub silence: Duration,
    /// Time a reader's confirmation outlives its last word, in whole seconds.
    pub lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            call: Duration::from_secs(5),
            ask: Duration::from_secs(10),
            silence: Duration::from_secs(13),
            lease: Duration::from_secs(30),
        }
    }
}

/// The registry. Nothing is opened before the first call.
pub struct Etcd {
    calls: std::sync::Arc<Calls>,
    keys: Keys,
    history: std::sync::Arc<Mutex<History>>,
    lease: tokio::sync::Mutex<Option<readers::Lease>>,
}

impl Etcd {
    /// The registry at an address.
    pub fn new(options: Options) -> Self {
        Self {
            keys: Keys::new(&options.address.prefix),
            calls: std::sync::Arc::new(Calls::new(options)),
            history: std::sync::Arc::default(),
            lease: tokio::sync::Mutex::default(),
        }
    }

    // Every change of it is one call: a panic elsewhere leaves none half done.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl UpstreamRegistry for Etcd {
    async fn raise(&self, fence: &Fence) -> Result<Option<Fence>, RegistryError> {
        self.raise_fence(fence).await
    }

    async fn publish(&self, batch: &Batch, fence: &Fence) -> Result<Outcome, RegistryError> {
        self.write(batch, fence).await
    }

    async fn fill(&self, batch: &Batch) -> Result<bool, RegistryError> {
        self.write_unfenced(batch).await
    }

    async fn list(&self) -> Result<Listing, RegistryError> {
        self.read_all().await
    }

    async fn watch_from(&self, revision: Revision) -> Result<Watch, RegistryError> {
        self.follow(revision).await
    }

    fn mark(&self) -> Option<Mark> {
        self.history().mark.clone()
    }

    fn recall(&self, mark: Mark) {
        let mut history = self.history();
        if history.mark.is_none() {
            (history.mark, history.recalled) = (Some(mark), true);
        }
    }

    async fn confirm(&self, reader: &Confirmation) -> Result<(), RegistryError> {
        self.tell(reader).await
    }

    async fn withdraw(&self) {
        self.say_farewell().await;
    }

    async fn readers(&self) -> Result<Vec<Reader>, RegistryError> {
        let readers = self.all_readers().await;
        readers.map_err(|failure| self.calls.error(failure))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
