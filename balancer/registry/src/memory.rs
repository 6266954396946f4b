//! What a reader remembers of its registry over a restart: which of the documents it serves came from there. Without it, a list could not
//! prove a name gone that was deleted meanwhile, and a name's owner would not be known before the registry answers.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use hancock_proto::ids::{ClusterId, Revision};
use hancock_proto::service::ServiceName;
use serde::{Deserialize, Serialize};

use crate::mark::Mark;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which registry.
    pub source: String,
    /// The cluster whose fence was seen.
    pub cluster: Option<ClusterId>,
    /// Highest revision seen.
    pub revision: Option<Revision>,
    /// What tells the store's history from another one, which may have overtaken that revision meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// Names whose documents came from it. May hold one more than is served, never one less.
    pub names: BTreeSet<ServiceName>,
}

/// A record in a file.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    /// As it is in the file.
    kept: Record,
}

impl Memory {
    /// The record in `folder`, as far as it was of `source`: another registry counts other revisions. One that cannot be read is told, and
    /// nothing is remembered: documents stay served, as nobody's.
    pub fn open(folder: &Path, source: &str) -> Self {
        let path = folder.join("registry.json");
        let mut kept = read(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot read what is remembered of the registry");
            Record::default()
        });
        if kept.source != source {
            kept.source = source.to_owned();
            (kept.revision, kept.mark) = (None, None);
        }
        Self { path, kept }
    }

    /// What is remembered.
    pub fn record(&self) -> &Record {
        &self.kept
    }

    /// Remembers something else from now on. A whole file or none; it need not survive a loss of power, which only makes names nobody's
    /// until the registry is listed.
    ///
    /// # Errors
    /// It cannot be written; it counts as not remembered.
    pub fn keep(&mut self, record: Record) -> io::Result<()> {
        if record == self.kept {
            return Ok(());
        }
        let beside = self.path.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec(&record)?)?;
        std::fs::rename(&beside, &self.path)?;
        self.kept = record;
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Record> {
    match std::fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            source: "etcd://a/x".to_owned(),
            cluster: Some("c".parse().unwrap()),
            revision: Some(Revision(7)),
            mark: Some(Mark {
                cluster: 1,
                fence: None,
                newest: None,
                seen: 7,
            }),
            names: BTreeSet::from(["web".parse().unwrap(), ":1".parse().unwrap()]),
        }
    }

    #[test]
    fn it_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), "etcd://a/x");
        assert!(memory.record().names.is_empty());
        memory.keep(record()).unwrap();
        assert_eq!(*Memory::open(dir.path(), "etcd://a/x").record(), record());
        let other = Memory::open(dir.path(), "etcd://b/x");
        assert_eq!(other.record().revision, None, "another one counts anew");
        assert_eq!(other.record().mark, None);
        assert_eq!(other.record().names, record().names);
    }

    #[test]
    fn a_record_without_a_mark_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"source":"etcd://a/x","cluster":"c","revision":7,"names":["web",":1"]}"#;
        std::fs::write(dir.path().join("registry.json"), text).unwrap();
        let mark = None;
        let read = Memory::open(dir.path(), "etcd://a/x").record().clone();
        assert_eq!(read, Record { mark, ..record() });
    }

    #[test]
    fn a_damaged_file_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("registry.json"), "{").unwrap();
        assert!(Memory::open(dir.path(), "x").record().names.is_empty());
    }
}
