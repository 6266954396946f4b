//! The image: the local one, or one pulled from its registry, as the spec says.

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;

use hancock_agent_core::environment::StartSpec;
use hancock_proto::app::PullPolicy;
use hancock_proto::app::image::{self, pinned, repository};

use super::connect::{error, status};
use super::progress::{Progress, Waiting};
use super::registries::Registries;
use super::store::spellings;
use super::{RuntimeError, Shared};

pub(super) async fn ensure(
    docker: &Docker,
    shared: &Shared,
    spec: &StartSpec,
) -> Result<(), RuntimeError> {
    let Some(image) = &spec.image else {
        return Err(RuntimeError::impossible(
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
            let progress = Progress::new(image, &tell);
            pull(docker, &shared.options.registries, image, progress).await
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

pub(super) async fn pull(
    docker: &Docker,
    registries: &Registries,
    image: &str,
    mut progress: Progress<'_>,
) -> Result<(), RuntimeError> {
    let login = registries.of(image);
    let login = login.map_err(|why| RuntimeError::failed("pull image", image, why))?;
    tracing::info!(image, with_password = login.is_some(), "pull image");
    let options = CreateImageOptions {
        from_image: Some(tagged(image)),
        ..CreateImageOptions::default()
    };
    let mut steps = Box::pin(docker.create_image(Some(options), None, login));
    while let Some(step) = steps.next().await {
        progress.step(&step.map_err(|e| not_pulled(image, e))?);
    }
    Ok(())
}

/// Without a tag the engine would pull every tag there is.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.contains([':', '@']) {
        true => image.to_owned(),
        false => format!("{image}:latest"),
    }
}

fn not_pulled(image: &str, refusal: Error) -> RuntimeError {
    let code = status(&refusal);
    let failed = error("pull image", image, refusal);
    let RuntimeError::Failed { reason, .. } = &failed else {
        return failed;
    };
    let gone = ["manifest unknown", "not found", "repository does not exist"];
    match code == Some(404) || gone.iter().any(|g| reason.contains(g)) {
        true => RuntimeError::impossible(
            "pull image",
            image,
            format!(
                "{reason}; it is not on this node either: check its name, push it, or load it into the node's engine"
            ),
        ),
        false => failed,
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

    #[test]
    fn an_image_without_a_tag_is_the_latest_one() {
        for (given, pulled) in [
            ("web", "web:latest"),
            ("web:3", "web:3"),
            ("registry:5000/web", "registry:5000/web:latest"),
            ("registry:5000/web:3", "registry:5000/web:3"),
            ("web@sha256:00", "web@sha256:00"),
        ] {
            assert_eq!(tagged(given), pulled);
        }
    }
}
