//! What an engine says of itself and its machine.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::connect;
use crate::runtime::RuntimeError;

/// Time it has to say it: it counts containers and looks at file systems for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// See the module; what it does not say is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct About {
    /// Version of the engine.
    #[serde(rename = "ServerVersion")]
    pub version: String,
    /// How images and containers lie on the disk.
    #[serde(rename = "Driver")]
    pub storage_driver: String,
    /// Where output of containers goes that say nothing else.
    pub logging_driver: String,
    /// Whether containers outlive it.
    #[serde(rename = "LiveRestoreEnabled")]
    pub live_restore: bool,
    /// Its folder.
    #[serde(rename = "DockerRootDir")]
    pub root_dir: String,
    /// What it warns of.
    #[serde(deserialize_with = "or_none")]
    pub warnings: Vec<String>,
}

impl About {
    /// Asks the engine behind `socket`.
    ///
    /// # Errors
    /// It is not there, or does not answer in time.
    pub async fn ask(socket: &Path) -> Result<Self, RuntimeError> {
        connect::ask(socket, "/info", TIMEOUT).await
    }
}

/// An engine without warnings says null.
fn or_none<'a, D: serde::Deserializer<'a>>(given: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(given).map(Option::unwrap_or_default)
}
