//! What survives a restart of the agent: whom it listens to, what it shall run, how often it restarted what. Written whole: temporary
//! file, flush, rename, flush of the folder; checked by checksum when read. Damage is an error, never an empty journal.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hancock_proto::assignment::Assignment;
use hancock_proto::ids::{InstanceId, Revision};
use hancock_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use hancock_agent_core::images::Shelf;
use hancock_agent_core::instance;
use hancock_agent_core::session;

use crate::run::Chosen;

/// First word of the file.
const MAGIC: &str = "hancock-agent-journal";

/// Format written, and the highest that is read.
const FORMAT: u32 = 1;

/// Everything stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Cluster, highest term, generation.
    pub session: session::Memory,
    /// What the node shall run. None: no master was ever heard.
    pub assignment: Option<Assignment>,
    /// What is remembered of instances.
    pub instances: BTreeMap<InstanceId, instance::Memory>,
    /// A registry revision that was reached; a list must not be behind it to prove that a service is gone.
    #[serde(default)]
    pub registry: Option<Revision>,
    /// The registry to follow beside the master's stream.
    #[serde(default)]
    pub chosen: Chosen,
    /// Where the masters are, HOST:PORT, as the leader last said.
    #[serde(default)]
    pub masters: Vec<String>,
    /// Images that instances here were made of.
    #[serde(default)]
    pub images: Shelf,
    /// When a master was heard last, some seconds early; kept where an instance must stop without contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Timestamp>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A deed on the file system failed.
    #[error("cannot {deed} {path}: {source}")]
    Io {
        /// What was tried.
        deed: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its content is not what was written.
    #[error(
        "{path} is damaged ({problem}); restore it, or move it away with \"mv {path} {path}.damaged\": the agent then leaves its running instances alone until the master sends what this node shall run"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A newer version wrote it.
    #[error(
        "{path} has format {found}, this version reads up to {FORMAT}; start the version that wrote it, or a newer one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// The journal's file.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
    path: PathBuf,
}

impl Journal {
    /// The journal in `folder`.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            path: folder.join("agent.journal"),
        }
    }

    /// Reads it; a folder without one is a node that never heard a master.
    ///
    /// # Errors
    /// It is there and cannot be read or understood.
    pub fn load(&self) -> Result<Record, JournalError> {
        match fs::read(&self.path) {
            Ok(bytes) => self.parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
            Err(source) => Err(self.io("read", source)),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Record, JournalError> {
        let damaged = |problem: &str| JournalError::Damaged {
            path: self.path.clone(),
            problem: problem.to_owned(),
        };
        let end = bytes.iter().position(|b| *b == b'\n');
        let (head, body) = bytes.split_at(end.ok_or_else(|| damaged("no header line"))?);
        let body = &body[1..];
        let head = String::from_utf8_lossy(head);
        let mut words = head.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(damaged("not an agent's journal"));
        }
        let mut number = |radix| u32::from_str_radix(words.next().unwrap_or_default(), radix);
        let format = number(10).map_err(|_| damaged("no format in the header"))?;
        if format > FORMAT {
            let path = self.path.clone();
            return Err(JournalError::Newer {
                path,
                found: format,
            });
        }
        if number(16) != Ok(crc32fast::hash(body)) {
            return Err(damaged("checksum does not fit the content"));
        }
        serde_json::from_slice(body).map_err(|error| damaged(&error.to_string()))
    }

    /// Writes it; on disk when this returns.
    ///
    /// # Errors
    /// It is not on disk; the former content still is.
    pub fn save(&self, record: &Record) -> Result<(), JournalError> {
        let body = serde_json::to_vec(record).map_err(|e| self.io("write", e.into()))?;
        let mut bytes = format!("{MAGIC} {FORMAT} {:08x}\n", crc32fast::hash(&body)).into_bytes();
        bytes.extend(body);
        fs::create_dir_all(&self.folder).map_err(|e| self.io("create the folder of", e))?;
        write_atomically(&self.path, &bytes).map_err(|e| self.io("write", e))
    }

    fn io(&self, deed: &'static str, source: io::Error) -> JournalError {
        let path = self.path.clone();
        JournalError::Io { deed, path, source }
    }
}

/// Replaces `path` whole: readers see the old content or the new, also after a power cut.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o644)
}

/// As [`write_atomically`]; only the owner can read it.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o600)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hancock_proto::ids::{Generation, Term};

    use super::*;

    fn record() -> Record {
        Record {
            session: session::Memory {
                cluster: Some("c1".parse().unwrap()),
                term: Term(7),
                generation: Generation(42),
            },
            ..Record::default()
        }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(&folder.path().join("agent"));
        assert_eq!(journal.load().unwrap(), Record::default());
        journal.save(&record()).unwrap();
        assert_eq!(journal.load().unwrap(), record());
    }

    #[test]
    fn any_damage_is_an_error_naming_the_file_and_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path());
        journal.save(&record()).unwrap();
        let good = fs::read(&journal.path).unwrap();
        for cut in 0..good.len() {
            fs::write(&journal.path, &good[..cut]).unwrap();
            let error = journal.load().unwrap_err().to_string();
            assert!(
                error.contains("agent.journal") && error.contains("mv "),
                "{cut}: {error}"
            );
        }
        for flip in 0..good.len() {
            let mut bad = good.clone();
            bad[flip] ^= 0x11;
            fs::write(&journal.path, &bad).unwrap();
            assert!(journal.load().is_err(), "byte {flip}");
        }
    }

    #[test]
    fn a_torn_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path());
        journal.save(&record()).unwrap();
        fs::write(journal.path.with_extension("tmp"), b"half a").unwrap();
        assert_eq!(journal.load().unwrap(), record());
    }

    #[test]
    fn a_newer_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path());
        fs::write(&journal.path, format!("{MAGIC} 9 00000000\n{{}}")).unwrap();
        let error = journal.load().unwrap_err().to_string();
        assert!(error.contains("format 9"), "{error}");
    }
}
