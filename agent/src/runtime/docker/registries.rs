//! Passwords of image registries, as `docker login` leaves them: read anew at every pull, so that a changed one is taken at once. They stay
//! on the node.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;

/// What `docker login` calls the registry of images that name none.
const HUB: &str = "https://index.docker.io/v1/";

/// Where the passwords are.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    /// A file in the form of `~/.docker/config.json`. None: every registry is asked without a password.
    pub config: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: HashMap<String, Login>,
}

/// What is known of one registry; which field, that depends on who wrote it.
#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default, rename = "identitytoken")]
    token: Option<String>,
}

impl Registries {
    /// What to show the registry of `image`. None: nothing.
    ///
    /// # Errors
    /// The file cannot be read or understood; the text names it.
    pub(super) fn of(&self, image: &str) -> Result<Option<DockerCredentials>, String> {
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let registry = registry(image);
        let mut config = read(path)?;
        let known = [registry.to_owned(), format!("https://{registry}")];
        let login = known.iter().find_map(|name| config.auths.remove(name));
        login.map(|l| shown(path, registry, l)).transpose()
    }
}

fn read(path: &Path) -> Result<Config, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("cannot read the registries' passwords in {shown}: {e}"))?;
    serde_json::from_str(&text)
        .map_err(|e| format!("{shown} is not as `docker login` writes it: {e}"))
}

fn shown(path: &Path, registry: &str, login: Login) -> Result<DockerCredentials, String> {
    let pair = match login.auth.as_deref().filter(|auth| !auth.is_empty()) {
        Some(auth) => Some(pair(auth).ok_or_else(|| {
            format!(
                "{}: the password of {registry} is not as `docker login` writes it",
                path.display()
            )
        })?),
        None => login.username.zip(login.password),
    };
    let (username, password) = pair.unzip();
    Ok(DockerCredentials {
        username,
        password,
        identitytoken: login.token,
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    })
}

/// "user:password", encoded.
fn pair(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The registry an image comes from: its first part, where that is a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(text: &str, image: &str) -> Result<Option<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        let config = Some(path);
        let found = Registries { config }.of(image)?;
        Ok(found.map(|c| (c.username.unwrap(), c.password.unwrap())))
    }

    #[test]
    fn each_registry_is_shown_its_own_password_and_no_other() {
        const TEXT: &str = r#"{"auths": {
            "registry.example:5000": {"auth": "Ym9iOnM6ZWNyZXQ="},
            "https://index.docker.io/v1/": {"username": "eve", "password": "x"}
        }, "credsStore": "desktop"}"#;
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(
            of(TEXT, "registry.example:5000/a/web:1"),
            Ok(pair("bob", "s:ecret"))
        );
        assert_eq!(of(TEXT, "web:1"), Ok(pair("eve", "x")));
        assert_eq!(of(TEXT, "library/web"), Ok(pair("eve", "x")));
        assert_eq!(of(TEXT, "registry.example/web"), Ok(None));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let at = |text| of(text, "registry.example/web").unwrap_err();
        assert!(at("{").contains("config.json"));
        let odd = at(r#"{"auths": {"registry.example": {"auth": "?"}}}"#);
        assert!(odd.contains("registry.example") && odd.contains("config.json"));
        let config = Some("/no/such/file".into());
        let none = Registries { config }.of("web").unwrap_err();
        assert!(none.contains("/no/such/file"), "{none}");
    }
}
