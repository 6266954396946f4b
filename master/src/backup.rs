//! A snapshot of the whole cluster as one file, for the day the masters are lost.
//!
//! - **Data in**: the state as of one index, or a file's bytes. **Data out**: a file's pieces, or the state they hold.
//! - **Invariants**: a file that reads is exactly what was saved; whatever was cut off or changed is refused by its offset; a file of a
//!   newer format by its number.
//! - **Never**: writes into a data directory; that is `start::revive`.

mod blocks;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hancock_master_core::Format;
use hancock_proto::ids::{ClusterId, LogIndex, Term};
use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::blocks::FORMAT;
use self::blocks::{Fault, Kind, Unread};
use crate::access::Credentials;
use crate::raft::{Applied, Undecodable, decode, encode};

/// Bytes of the state in one block.
const PIECE: usize = 256 << 10;
/// Way out of a file that cannot be used.
const OTHER: &str = "take another copy of it, or an earlier snapshot";

/// What a file says about itself; written first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The cluster.
    pub cluster: ClusterId,
    /// The state is that after this entry of the log, and nothing later.
    pub index: LogIndex,
    /// Term of that entry, or a later one.
    pub term: Term,
    /// When it was taken, by the clock of the master that was asked.
    pub at: Timestamp,
    /// Version of the program that wrote it.
    pub version: String,
}

/// A file, read and checked to its end.
pub struct Backup {
    /// What it says about itself.
    pub head: Head,
    /// Format it was written in: that of the file or of the state, whichever is newer.
    pub format: u32,
    /// CRC-32 of the state's bytes.
    pub sum: u32,
    /// The state's bytes.
    pub bytes: u64,
    pub(crate) applied: Applied,
    /// The cluster's secrets; None: it had none, being one process.
    pub(crate) credentials: Option<Credentials>,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Apps.
    pub apps: usize,
    /// Instances, whatever their stage.
    pub instances: usize,
    /// Nodes.
    pub nodes: usize,
    /// Zones beside the default one.
    pub zones: usize,
    /// Deployments that are kept.
    pub deployments: usize,
    /// Upstreams kept by hand.
    pub upstreams: usize,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("cannot read the snapshot {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what was saved.
    #[error("the snapshot {} is damaged at byte {offset}: {what}; {OTHER}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset of what does not fit.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// A newer version wrote it.
    #[error(
        "the snapshot {} is of format {found}, this version knows formats up to {known}: use the version that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Highest format known here.
        known: u32,
    },
}

/// The pieces of a file, in order.
pub(crate) fn pieces(
    head: &Head,
    applied: &Applied,
    credentials: Option<&Credentials>,
) -> io::Result<impl Iterator<Item = Bytes> + Send + use<>> {
    let state = Bytes::from(encode(applied)?);
    let mut first = blocks::begin();
    blocks::write(&mut first, Kind::Head, &serde_json::to_vec(head)?);
    if let Some(credentials) = credentials {
        blocks::write(&mut first, Kind::Secrets, &serde_json::to_vec(credentials)?);
    }
    let sum = crc32fast::hash(&state);
    let states = (0..state.len()).step_by(PIECE).map(move |at| {
        let end = state.len().min(at + PIECE);
        let mut piece = Vec::with_capacity(end - at + blocks::HEADER);
        blocks::write(&mut piece, Kind::State, &state[at..end]);
        Bytes::from(piece)
    });
    let mut last = Vec::new();
    blocks::write(&mut last, Kind::End, &sum.to_le_bytes());
    let first = std::iter::once(Bytes::from(first));
    Ok(first.chain(states).chain(std::iter::once(last.into())))
}

impl Backup {
    /// Reads a file and checks all of it.
    ///
    /// # Errors
    /// It cannot be read, is damaged or cut off, or of a newer format.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let bytes = std::fs::read(path).map_err(|source| BackupError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&bytes).map_err(|unread| BackupError::of(path, unread))
    }

    /// As [`Backup::read`], from bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Unread> {
        let parts = blocks::read(bytes)?;
        let json = |at: usize, e: serde_json::Error| Fault::new(at, e.to_string());
        let (at, head) = parts.head;
        let head: Head = serde_json::from_slice(head).map_err(|e| json(at, e))?;
        let credentials = parts.secrets.map(|(at, secrets)| {
            let read = serde_json::from_slice(secrets);
            read.map_err(|e| json(at, e))
        });
        let state = parts.state;
        let applied = decode(&state).map_err(|error| match error {
            Undecodable::Newer(found) => Unread::Newer {
                found: found.0,
                known: Format::NEWEST.0,
            },
            Undecodable::Broken(what) => Fault::new(at, what).into(),
        })?;
        Ok(Self {
            head,
            format: parts.format.max(applied.state().format.0),
            sum: crc32fast::hash(&state),
            bytes: state.len() as u64,
            applied,
            credentials: credentials.transpose()?,
        })
    }

    /// How much there is of everything.
    pub fn counts(&self) -> Counts {
        let state = self.applied.state();
        Counts {
            apps: state.apps.len(),
            instances: state.instances.len(),
            nodes: state.nodes.len(),
            zones: state.zones.len(),
            deployments: state.deployments.len(),
            upstreams: state.kept.living().count(),
        }
    }
}

impl BackupError {
    fn of(path: &Path, unread: Unread) -> Self {
        let path = path.to_owned();
        match unread {
            Unread::Fault(Fault { offset, what }) => Self::Damaged { path, offset, what },
            Unread::Newer { found, known } => Self::Newer { path, found, known },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
