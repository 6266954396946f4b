//! Images made from a tar archive, for machines without a registry.

use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;

use super::connect::{error, status};
use super::{DockerRuntime, RuntimeError};

impl DockerRuntime {
    /// Whether the engine has an image of this name.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn has_image(&self, name: &str) -> Result<bool, RuntimeError> {
        match self.docker().await?.inspect_image(name).await {
            Ok(_) => Ok(true),
            Err(e) if status(&e) == Some(404) => Ok(false),
            Err(e) => Err(error("look for image", name, e)),
        }
    }

    /// Makes an image of one layer, named `name` ("repository:tag"), from a tar archive.
    ///
    /// # Errors
    /// The engine does not answer, or refuses the archive.
    pub async fn import_image(&self, name: &str, layer: Vec<u8>) -> Result<(), RuntimeError> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
            ..CreateImageOptions::default()
        };
        let docker = self.docker().await?;
        let body = bollard::body_full(layer.into());
        let mut progress = Box::pin(docker.create_image(Some(options), Some(body), None));
        while let Some(step) = progress.next().await {
            step.map_err(|e| error("import image", name, e))?;
        }
        Ok(())
    }
}
