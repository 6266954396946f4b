//! What an instance finds in its file system beside its image: volumes, and files written down in the spec.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Size;

/// Something mounted into an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// What is mounted.
    #[serde(default, rename = "type", skip_serializing_if = "VolumeKind::is_bind")]
    pub kind: VolumeKind,
    /// Folder on the host, or the volume's name; a tmpfs has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// No writes.
    #[serde(default)]
    pub read_only: bool,
    /// Most a tmpfs holds. None: half of the node's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// One writer: no other instance on the node that may write to it, of this app or another, runs at the same time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum VolumeKind {
    /// A folder of the host.
    #[default]
    Bind,
    /// A volume of the engine, one per app, name and node; made when it is first needed and never removed by itself.
    Volume,
    /// A file system in memory, empty at every start.
    Tmpfs,
}

impl VolumeKind {
    fn is_bind(&self) -> bool {
        *self == Self::Bind
    }
}

/// A file put in front of an instance before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Path in the container.
    pub target: String,
    /// What is in it.
    pub content: String,
    /// Who may do what with it.
    #[serde(default)]
    pub mode: FileMode,
    /// Its owner's number. None: whoever the agent runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its group's number. None: the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Whether `{{ … }}` in it is filled in.
    #[serde(default = "yes")]
    pub template: bool,
}

fn yes() -> bool {
    true
}

/// Permissions as they are written: "0644".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(value_type = String, pattern = "^0[0-7]{3}$", examples("0644"))
)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(u32);

/// Why a text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mode of a file, write it like \"0644\"")]
pub struct InvalidMode(String);

impl FileMode {
    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self(0o444)
    }
}

impl std::str::FromStr for FileMode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        let wrong = || InvalidMode(text.to_owned());
        let octal = text.len() == 4 && text.starts_with('0');
        let bits = u32::from_str_radix(text, 8).ok().filter(|_| octal);
        bits.map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl TryFrom<String> for FileMode {
    type Error = InvalidMode;

    fn try_from(text: String) -> Result<Self, InvalidMode> {
        text.parse()
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        mode.to_string()
    }
}
