//! From a registry's address to the registry: the one place that knows which kinds there are.

use std::fmt;
use std::sync::Arc;

use hancock_proto::registry::RegistryUrl;

use crate::etcd::{Address, Etcd, Options};
use crate::{RegistryError, UpstreamRegistry};

type Open = dyn Fn(&RegistryUrl) -> Result<Arc<dyn UpstreamRegistry>, RegistryError> + Send + Sync;

/// Opens registries outside of the masters. Cheap to clone.
#[derive(Clone)]
pub struct Opener(Arc<Open>);

impl Opener {
    /// One that does as `open` says: tests put a registry of their own in its place.
    pub fn new(
        open: impl Fn(&RegistryUrl) -> Result<Arc<dyn UpstreamRegistry>, RegistryError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(open))
    }

    /// The registry at `url`. Connects when it is used.
    ///
    /// # Errors
    /// There is no such kind of registry, or its address is not complete.
    pub fn open(&self, url: &RegistryUrl) -> Result<Arc<dyn UpstreamRegistry>, RegistryError> {
        (self.0)(url)
    }
}

impl Default for Opener {
    /// Every kind this program has.
    fn default() -> Self {
        Self::new(open)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

fn open(url: &RegistryUrl) -> Result<Arc<dyn UpstreamRegistry>, RegistryError> {
    Ok(Arc::new(Etcd::new(Options::new(Address::of(url)?))))
}
