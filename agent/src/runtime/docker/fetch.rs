//! Fetches an image from its registry: tells what passes from what will not, and how far it is.

use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;

use hancock_proto::app::image;

use super::RuntimeError;
use super::connect::{error, status};
use super::progress::Progress;
use super::registries::Registries;

/// How often a registry that does not answer is asked.
const TRIES: u32 = 4;

/// Time before it is asked again; doubled each time.
const PAUSE: Duration = Duration::from_secs(1);

/// Words of engines and registries that another try would not change.
const FINAL: [&str; 9] = [
    "manifest unknown",
    "not found",
    "no matching manifest",
    "repository does not exist",
    "invalid reference format",
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "denied",
];

/// Fetches an image. A registry that does not answer just now is asked again a few times; what comes to nothing then, another node may have,
/// or be let in for.
pub(super) async fn pull(
    docker: &Docker,
    registries: &Registries,
    image: &str,
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<(), RuntimeError> {
    let (begun, mut pause, mut tries) = (Instant::now(), PAUSE, 1);
    loop {
        let progress = Progress::new(image, tell);
        let Err(refusal) = once(docker, registries, image, progress).await else {
            return Ok(());
        };
        match refusal {
            Refusal::Away(error) => return Err(error),
            Refusal::Passing(_) if tries < TRIES => {}
            refusal => return Err(not_had(image, &refusal, tries, begun.elapsed())),
        }
        tracing::info!(image, ?refusal, "pull image again in {pause:?}");
        tell(format!(
            "pulls {image} again in {} s: {}",
            pause.as_secs(),
            refusal.reason()
        ));
        tokio::time::sleep(pause).await;
        (pause, tries) = (pause * 2, tries + 1);
    }
}

/// Why an image was not fetched.
#[derive(Debug)]
enum Refusal {
    /// The engine does not answer.
    Away(RuntimeError),
    /// The registry does not answer, or not now.
    Passing(String),
    /// Asking again would end the same.
    Final(String),
}

impl Refusal {
    /// The engine passes on what the registry said, under many codes.
    fn of(code: Option<u16>, error: RuntimeError) -> Self {
        let RuntimeError::Failed { reason, .. } = error else {
            return Self::Away(error);
        };
        let told = reason.to_lowercase();
        match code == Some(404) || FINAL.iter().any(|word| told.contains(word)) {
            true => Self::Final(reason),
            false => Self::Passing(reason),
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Away(error) => error.to_string(),
            Self::Passing(reason) | Self::Final(reason) => reason.clone(),
        }
    }
}

async fn once(
    docker: &Docker,
    registries: &Registries,
    image: &str,
    mut progress: Progress<'_>,
) -> Result<(), Refusal> {
    let login = registries.of(image).map_err(Refusal::Final)?;
    tracing::info!(image, with_password = login.is_some(), "pull image");
    let options = CreateImageOptions {
        from_image: Some(tagged(image)),
        ..CreateImageOptions::default()
    };
    let mut steps = Box::pin(docker.create_image(Some(options), None, login));
    while let Some(step) = steps.next().await {
        let step = step.map_err(|e| Refusal::of(status(&e), error("pull image", image, e)))?;
        progress.step(&step);
    }
    Ok(())
}

fn not_had(image: &str, refusal: &Refusal, tries: u32, time: Duration) -> RuntimeError {
    let reason = refusal.reason();
    let way_out = match refusal {
        Refusal::Final(_) if image::digest(image).is_some() => {
            "its registry does not have that image any more, or does not let this node in (`docker-config`): push it again, load it into the \
             node's engine, or apply a new version of the app, which asks for the tag anew"
        }
        Refusal::Final(_) => {
            "check its name, push it, let this node in (`docker-config`), or load it into the node's engine"
        }
        Refusal::Passing(_) | Refusal::Away(_) => "see that this node reaches the registry",
    };
    let tried = match tries {
        1 => String::new(),
        tries => format!(" (tried {tries} times within {} s)", time.as_secs()),
    };
    RuntimeError::elsewhere("pull image", image, format!("{reason}{tried}; {way_out}"))
}

/// Without a tag the engine would pull every tag there is.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.contains([':', '@']) {
        true => image.to_owned(),
        false => format!("{image}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_says_no_is_not_asked_again() {
        let kind = |code: Option<u16>, reason: &str| match Refusal::of(
            code,
            RuntimeError::failed("pull image", "web:1", reason),
        ) {
            Refusal::Final(_) => "final",
            Refusal::Passing(_) => "passing",
            Refusal::Away(_) => "away",
        };
        for (code, reason, expected) in [
            (Some(404), "anything", "final"),
            (
                None,
                "manifest for web:1 not found: manifest unknown",
                "final",
            ),
            (
                Some(500),
                "Head \"http://r/v2/\": no basic auth credentials",
                "final",
            ),
            (Some(500), "unauthorized: authentication required", "final"),
            (
                None,
                "no matching manifest for linux/arm64/v8 in the manifest list",
                "final",
            ),
            (Some(400), "invalid reference format", "final"),
            (
                Some(500),
                "dial tcp 127.0.0.1:5000: connect: connection refused",
                "passing",
            ),
            (
                Some(500),
                "dial tcp: lookup registry.example: no such host",
                "passing",
            ),
            (Some(500), "toomanyrequests: Rate exceeded", "passing"),
            (
                Some(500),
                "received unexpected HTTP status: 503 Service Unavailable",
                "passing",
            ),
            (None, "unexpected EOF", "passing"),
        ] {
            assert_eq!(kind(code, reason), expected, "{reason}");
        }
        let away = RuntimeError::Unavailable {
            runtime: "docker engine".to_owned(),
            reason: "not found".to_owned(),
        };
        assert!(matches!(Refusal::of(None, away), Refusal::Away(_)));
    }

    #[test]
    fn what_cannot_be_had_here_says_the_way_out() {
        let passing = Refusal::Passing("connection refused".to_owned());
        let gone = Refusal::Final("manifest unknown".to_owned());
        let time = Duration::from_secs(7);
        for (image, refusal, tries, words) in [
            (
                "web:1",
                &passing,
                4,
                ["tried 4 times within 7 s", "reaches the registry"],
            ),
            ("web:1", &gone, 1, ["manifest unknown; check", "push it"]),
            ("web@sha256:00", &gone, 1, ["any more", "new version"]),
        ] {
            let error = not_had(image, refusal, tries, time);
            assert!(matches!(error, RuntimeError::Elsewhere { .. }));
            let told = error.to_string();
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
        }
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
