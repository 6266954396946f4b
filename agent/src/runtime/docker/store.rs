//! The engine's images: listed with every name, removed by name.

use std::collections::BTreeSet;
use std::path::PathBuf;

use async_trait::async_trait;
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions};
use hancock_agent_core::images::Image;
use hancock_proto::time::Timestamp;

use super::connect::{error, status};
use super::{DockerRuntime, ImageStore, RuntimeError, fetch, pull};

#[async_trait]
impl ImageStore for DockerRuntime {
    async fn folder(&self) -> Result<PathBuf, RuntimeError> {
        let info = self.docker().await?.info().await;
        let info = info.map_err(|e| error("look for", "the folder of images", e))?;
        let folder = info.docker_root_dir.unwrap_or_else(|| "/".to_owned());
        Ok(folder.into())
    }

    async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        let docker = self.docker().await?;
        let all = ListContainersOptions {
            all: true,
            ..ListContainersOptions::default()
        };
        let containers = docker.list_containers(Some(all)).await;
        let containers = containers.map_err(|e| error("list", "containers", e))?;
        let used: BTreeSet<_> = containers.into_iter().filter_map(|c| c.image_id).collect();
        let images = docker.list_images(None::<ListImagesOptions>).await;
        let images = images.map_err(|e| error("list", "images", e))?;
        Ok(images
            .into_iter()
            .map(|image| Image {
                used: used.contains(&image.id),
                size: u64::try_from(image.size).unwrap_or_default(),
                created: Timestamp(u64::try_from(image.created).unwrap_or_default() * 1000),
                names: image
                    .repo_tags
                    .iter()
                    .chain(&image.repo_digests)
                    .flat_map(|name| spellings(name))
                    .collect(),
                tags: named(image.repo_tags),
                digests: named(image.repo_digests),
                id: image.id,
            })
            .collect())
    }

    async fn pull(
        &self,
        image: &str,
        told: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Option<String>, RuntimeError> {
        let docker = self.docker().await?;
        fetch::pull(&docker, &self.shared.options.registries, image, told).await?;
        pull::digest(&docker, image).await
    }

    async fn remove_image(&self, name: &str) -> Result<(), RuntimeError> {
        let options = RemoveImageOptions {
            force: false,
            noprune: false,
            ..RemoveImageOptions::default()
        };
        let docker = self.docker().await?;
        match docker.remove_image(name, Some(options), None).await {
            Err(e) if status(&e) == Some(404) => Ok(()),
            outcome => outcome
                .map(drop)
                .map_err(|e| error("remove image", name, e)),
        }
    }
}

/// Without those that the engine makes up for one that has none.
fn named(names: Vec<String>) -> Vec<String> {
    let names = names.into_iter();
    names.filter(|name| !name.starts_with("<none>")).collect()
}

/// How specs may write a name the engine knows: with and without the tag that goes without saying, and the registry that does.
pub(super) fn spellings(name: &str) -> Vec<String> {
    let short = name.strip_suffix(":latest").unwrap_or(name);
    let first = short.split('/').next().unwrap_or_default();
    let named = first.contains(['.', ':']) || first == "localhost";
    let anywhere = short.contains('/') && named;
    let mut all = vec![name.to_owned(), short.to_owned()];
    if !anywhere {
        for spelt in [name, short] {
            all.push(format!("docker.io/{spelt}"));
            if !spelt.contains('/') {
                all.push(format!("docker.io/library/{spelt}"));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_however_it_is_spelt() {
        for (engine, spec) in [
            ("web:3", "web:3"),
            ("web:latest", "web"),
            ("web:3", "docker.io/library/web:3"),
            ("me/web:3", "docker.io/me/web:3"),
            ("registry:5000/web:3", "registry:5000/web:3"),
            ("web@sha256:00", "docker.io/library/web@sha256:00"),
        ] {
            assert!(
                spellings(engine).contains(&spec.to_owned()),
                "{engine} {spec}"
            );
        }
        assert!(
            !spellings("registry:5000/web:3").contains(&"docker.io/registry:5000/web:3".to_owned())
        );
    }
}
