//! The connection: speaks the newest API version both sides know, and tells an engine that is away from one that says no.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::RuntimeError;

/// Time the engine has for an ordinary answer, in seconds.
const TIMEOUT: u64 = 50;

/// Time it has to say its version: it must be quick, or it is as good as away.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer to a question.
const MAX_ANSWER: u64 = 1 << 20;

/// A way to one engine.
#[derive(Debug)]
pub(super) struct Connection {
    socket: PathBuf,
    /// None: no API version is agreed upon. Dropped when the engine goes away, because another version may come back.
    docker: Mutex<Option<Docker>>,
}

/// What the engine says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineVersion {
    version: String,
    api_version: String,
}

impl Connection {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            docker: Mutex::new(None),
        }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) async fn version(&self) -> Result<String, RuntimeError> {
        self.ask_version().await.map(|v| v.version)
    }

    /// A client that speaks a version the engine knows.
    pub(super) async fn docker(&self) -> Result<Docker, RuntimeError> {
        let known = self
            .docker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(docker) = known {
            return Ok(docker);
        }
        let version = self.ask_version().await?;
        let agreed = agreed(&version.api_version);
        tracing::debug!(engine = %version.version, api = %version.api_version, "docker engine answers");
        let path = self.socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, TIMEOUT, &agreed)
            .map_err(|e| unavailable(&self.socket, &e))?;
        *self.docker.lock().unwrap_or_else(PoisonError::into_inner) = Some(docker.clone());
        Ok(docker)
    }

    /// The engine went away: what was agreed upon is void.
    pub(super) fn lost(&self) {
        *self.docker.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Asked without a version in the path, which every engine understands; the client library always puts one, and engines refuse
    /// versions newer than their own.
    async fn ask_version(&self) -> Result<EngineVersion, RuntimeError> {
        ask(&self.socket, "/version", VERSION_TIMEOUT).await
    }
}

/// What the engine answers at `path`, within `deadline`.
pub(super) async fn ask<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    deadline: Duration,
) -> Result<T, RuntimeError> {
    match tokio::time::timeout(deadline, asked(socket, path)).await {
        Ok(answer) => answer.map_err(|e| unavailable(socket, &e)),
        Err(_) => Err(unavailable(
            socket,
            &format!("no answer within {deadline:?}"),
        )),
    }
}

async fn asked<T: DeserializeOwned>(socket: &Path, path: &str) -> std::io::Result<T> {
    let mut stream = UnixStream::connect(socket).await?;
    // HTTP/1.0: the answer is neither chunked nor followed by anything.
    let question = format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    let body = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let body = body.map_or(&[][..], |at| &answer[at + 4..]);
    serde_json::from_slice(body).map_err(std::io::Error::other)
}

/// The lower of the engine's version and the client library's.
fn agreed(engine: &str) -> ClientVersion {
    let own = (
        API_DEFAULT_VERSION.major_version,
        API_DEFAULT_VERSION.minor_version,
    );
    let parsed = engine
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let (major_version, minor_version) = parsed.map_or(own, |engine| own.min(engine));
    ClientVersion {
        major_version,
        minor_version,
    }
}

/// The status the engine answered with; None: it did not answer.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Our word for an error of a deed.
pub(super) fn error(deed: &'static str, what: impl ToString, error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { message, .. } => {
            RuntimeError::failed(deed, what, message)
        }
        Error::DockerStreamError { error } => RuntimeError::failed(deed, what, error),
        Error::JsonDataError { message, .. } => RuntimeError::failed(deed, what, message),
        other => RuntimeError::Unavailable {
            runtime: "docker engine".to_owned(),
            reason: format!("{other} (while it was to {deed} {})", what.to_string()),
        },
    }
}

fn unavailable(socket: &Path, reason: &dyn std::fmt::Display) -> RuntimeError {
    RuntimeError::Unavailable {
        runtime: format!("docker engine at {}", socket.display()),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_version_is_spoken() {
        let pair = |v: ClientVersion| (v.major_version, v.minor_version);
        assert_eq!(pair(agreed("1.41")), (1, 41));
        let own = pair(agreed("1.999"));
        assert_eq!(own, (1, API_DEFAULT_VERSION.minor_version));
        assert_eq!(pair(agreed("nonsense")), own);
    }
}
