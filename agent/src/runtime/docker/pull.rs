//! The image: the local one, or one pulled from its registry, as the spec says.

use bollard::Docker;

use hancock_agent_core::environment::StartSpec;
use hancock_proto::app::PullPolicy;
use hancock_proto::app::image::{self, pinned, repository};

use super::connect::{error, status};
use super::fetch::pull;
use super::progress::Waiting;
use super::store::spellings;
use super::{RuntimeError, Shared};

pub(super) async fn ensure(
    docker: &Docker,
    shared: &Shared,
    spec: &StartSpec,
) -> Result<(), RuntimeError> {
    let Some(image) = &spec.image else {
        return Err(RuntimeError::elsewhere(
            "start",
            &spec.instance,
            "the spec names no image, and this node runs containers; give an image, or place the app on nodes that run plain processes",
        ));
    };
    let image = &match &spec.image_digest {
        Some(digest) => pinned(image, digest),
        None => image.clone(),
    };
    match (spec.pull_policy, is_there(docker, image).await?) {
        // By its digest it is what it is wherever it came from.
        (_, true) if image::digest(image).is_some() => Ok(()),
        (PullPolicy::Missing | PullPolicy::Never, true) => Ok(()),
        (PullPolicy::Always, _) | (PullPolicy::Missing, false) => {
            let waiting = Waiting::new(shared, &spec.instance);
            let tell = |text| waiting.tell(text);
            pull(docker, &shared.options.registries, image, &tell).await
        }
        (PullPolicy::Never, false) => Err(RuntimeError::elsewhere(
            "start",
            &spec.instance,
            format!(
                "image {image} is not on this node, and `pull_policy: never` says not to fetch it; load it into the node's engine"
            ),
        )),
    }
}

/// An image that cannot become another one.
pub(super) struct Exact {
    /// Name to make containers by.
    pub(super) name: String,
    /// None: no registry knows it, so its name is all there is.
    pub(super) digest: Option<String>,
}

/// What the image of `spec` is, here and now.
pub(super) async fn exact(docker: &Docker, spec: &StartSpec) -> Result<Exact, RuntimeError> {
    let name = spec.image.clone().unwrap_or_default();
    let told = spec.image_digest.as_deref().or(image::digest(&name));
    let digest = match told {
        Some(digest) => Some(digest.to_owned()),
        None => digest(docker, &name).await?,
    };
    let name = digest.as_ref().map_or(name.clone(), |d| pinned(&name, d));
    Ok(Exact { name, digest })
}

/// What a name stands for here. None: nothing that a registry knows.
pub(super) async fn digest(docker: &Docker, name: &str) -> Result<Option<String>, RuntimeError> {
    let there = docker.inspect_image(name).await;
    let there = there.map_err(|e| error("look for image", name, e))?;
    Ok(digest_of(name, &there.repo_digests.unwrap_or_default()))
}

/// The digest among the engine's names of an image that is of the same repository.
fn digest_of(name: &str, known: &[String]) -> Option<String> {
    let wanted = repository(name);
    let mut same = known.iter().filter_map(|known| {
        let (of, digest) = known.split_once('@')?;
        spellings(of).iter().any(|s| s == wanted).then_some(digest)
    });
    same.next().map(str::to_owned)
}

async fn is_there(docker: &Docker, image: &str) -> Result<bool, RuntimeError> {
    match docker.inspect_image(image).await {
        Ok(_) => Ok(true),
        Err(e) if status(&e) == Some(404) => Ok(false),
        Err(e) => Err(error("look for image", image, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_same_repository() {
        let known = [
            "other/web@sha256:1",
            "web@sha256:2",
            "registry:5000/web@sha256:3",
        ];
        let known = known.map(str::to_owned);
        let of = |name| digest_of(name, &known);
        assert_eq!(of("docker.io/library/web:1").as_deref(), Some("sha256:2"));
        assert_eq!(of("registry:5000/web").as_deref(), Some("sha256:3"));
        assert_eq!(of("mine/web:1"), None);
    }
}
