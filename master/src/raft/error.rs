//! What can be wrong with what is on disk, and the way out.

use std::io;
use std::path::PathBuf;

/// The stored log, vote or snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk said no.
    #[error("cannot {deed} {}: {source}", path.display())]
    Io {
        /// What was tried.
        deed: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were once flushed are no longer what they were.
    #[error(
        "{} is damaged at byte {offset}: {what}; nothing was changed. Restore the file from a copy of the data directory, or move the \
         data directory away to begin an empty cluster",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset of the first bad record.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// Written by a later version of this program.
    #[error(
        "{} is of format {found}, this version knows formats up to {known}: start the newer version again, or restore the data \
         directory from before the upgrade",
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

impl StoreError {
    pub(crate) fn io(deed: &'static str, path: PathBuf, source: io::Error) -> Self {
        Self::Io { deed, path, source }
    }

    pub(crate) fn damaged(path: PathBuf, offset: u64, what: impl Into<String>) -> Self {
        let what = what.into();
        Self::Damaged { path, offset, what }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        io::Error::other(error)
    }
}
