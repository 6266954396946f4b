//! The seam to a runtime's images, where it has some.

use std::path::PathBuf;

use async_trait::async_trait;
use hancock_agent_core::images::Image;

use super::RuntimeError;

/// Where a runtime keeps images.
#[async_trait]
pub trait ImageStore: Send + Sync {
    /// The folder they and the instances' files are in.
    ///
    /// # Errors
    /// The runtime does not answer.
    async fn folder(&self) -> Result<PathBuf, RuntimeError>;

    /// All of them, whosever they are.
    ///
    /// # Errors
    /// The list could not be completed.
    async fn images(&self) -> Result<Vec<Image>, RuntimeError>;

    /// Fetches an image from its registry, also when it is here already; says now and then how far that is. Its digest, where it has one.
    ///
    /// # Errors
    /// It is not to be had.
    async fn pull(
        &self,
        image: &str,
        told: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Option<String>, RuntimeError>;

    /// Takes a name away from an image, and the image itself when that was its last. One that is not there is fine; never by force.
    ///
    /// # Errors
    /// A container is made of it, or the runtime does not answer.
    async fn remove_image(&self, name: &str) -> Result<(), RuntimeError>;
}
