//! The last known good documents, on disk: an appended log, one line per applied document, flushed in groups, compacted now and then.
//!
//! A line is the CRC-32 of the rest in eight hex digits, a blank, and `{"name":…,"doc":…}` (`null`: deleted). The first line names the
//! format. A torn tail is cut off; a line broken in the middle is left out and told about: every other document is still good.
//! Formats: version 1 is the first one; a higher one is refused rather than guessed at.

mod writer;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use hancock_proto::upstream::UpstreamDoc;

pub(crate) use writer::Writer;

const HEADER: &str = "hancock-last-good 1";
const FILE: &str = "last-good.log";

/// Documents by service name.
pub(crate) type Documents = BTreeMap<String, Arc<UpstreamDoc>>;

#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    doc: Option<Arc<UpstreamDoc>>,
}

/// The log, open for appending, with everything it holds.
pub(crate) struct Log {
    folder: PathBuf,
    file: File,
    /// Up to here everything is whole.
    length: u64,
    /// The file may be longer than that.
    torn: bool,
    /// Its length after the last compaction.
    compacted: u64,
    documents: Documents,
}

impl Log {
    /// Opens or creates the log in `folder` and reads it.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut log = Self {
            folder: folder.to_owned(),
            file,
            length: 0,
            torn: false,
            compacted: 0,
            documents: Documents::new(),
        };
        log.replay(&path, &bytes)?;
        Ok(log)
    }

    /// What was served last.
    pub(crate) fn documents(&self) -> &Documents {
        &self.documents
    }

    fn replay(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let whole = bytes
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let mut lines = bytes[..whole]
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty());
        match lines.next() {
            None => return self.begin(path, bytes.len()),
            Some(first) if first == HEADER.as_bytes() => {}
            Some(first) => return Err(foreign(path, first)),
        }
        for line in lines {
            self.replay_line(path, line);
        }
        self.cut(path, whole as u64, bytes.len() as u64)
    }

    fn replay_line(&mut self, path: &Path, line: &[u8]) {
        match decode(line) {
            Some(Record {
                name,
                doc: Some(doc),
            }) => drop(self.documents.insert(name, doc)),
            Some(Record { name, doc: None }) => drop(self.documents.remove(&name)),
            None => {
                tracing::warn!(path = %path.display(), "left out a damaged line of the last known good documents")
            }
        }
    }

    /// An empty file, or one torn before its first line was whole.
    fn begin(&mut self, path: &Path, found: usize) -> io::Result<()> {
        self.cut(path, 0, found as u64)?;
        self.append(format!("{HEADER}\n").as_bytes())
    }

    fn cut(&mut self, path: &Path, whole: u64, found: u64) -> io::Result<()> {
        if found > whole {
            tracing::warn!(path = %path.display(), bytes = found - whole, "cut off a torn record at the end of the last known good documents");
            self.file.set_len(whole)?;
            self.file.sync_data()?;
        }
        self.length = whole;
        Ok(())
    }

    /// Appends whole lines and flushes them to disk; after an error nothing of them counts.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            // What an earlier try wrote in part would damage this record.
            self.file.set_len(self.length)?;
        }
        self.torn = true;
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.torn = false;
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Takes changes in: durable when it returns well.
    fn write(&mut self, changes: &BTreeMap<String, Option<Arc<UpstreamDoc>>>) -> io::Result<()> {
        let mut lines = Vec::new();
        for (name, doc) in changes {
            encode(&mut lines, name, doc.as_ref());
        }
        self.append(&lines)?;
        for (name, doc) in changes {
            match doc {
                Some(doc) => drop(self.documents.insert(name.clone(), doc.clone())),
                None => drop(self.documents.remove(name)),
            }
        }
        Ok(())
    }

    /// Writes only what is still good into a new file and puts it in the old one's place.
    fn compact(&mut self) -> io::Result<()> {
        let mut lines = format!("{HEADER}\n").into_bytes();
        for (name, doc) in &self.documents {
            encode(&mut lines, name, Some(doc));
        }
        let fresh = self.folder.join(format!("{FILE}.new"));
        let mut file = File::create(&fresh)?;
        file.write_all(&lines)?;
        file.sync_all()?;
        std::fs::rename(&fresh, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()?;
        self.file = OpenOptions::new()
            .append(true)
            .open(self.folder.join(FILE))?;
        self.length = lines.len() as u64;
        self.compacted = self.length;
        self.torn = false;
        Ok(())
    }
}

fn encode(out: &mut Vec<u8>, name: &str, doc: Option<&Arc<UpstreamDoc>>) {
    let record = Record {
        name: name.to_owned(),
        doc: doc.cloned(),
    };
    // Only non-finite numbers could fail, and validation lets none in.
    let Ok(json) = serde_json::to_vec(&record) else {
        return;
    };
    out.extend_from_slice(format!("{:08x} ", crc32fast::hash(&json)).as_bytes());
    out.extend_from_slice(&json);
    out.push(b'\n');
}

fn decode(line: &[u8]) -> Option<Record> {
    let (sum, json) = line.split_at_checked(9)?;
    let sum = u32::from_str_radix(std::str::from_utf8(&sum[..8]).ok()?, 16).ok()?;
    (crc32fast::hash(json) == sum).then_some(())?;
    serde_json::from_slice(json).ok()
}

fn foreign(path: &Path, first: &[u8]) -> io::Error {
    let first = String::from_utf8_lossy(&first[..first.len().min(40)]).into_owned();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "{} begins with {first:?}, this version reads {HEADER:?}; start the newer version or move the file away",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests;
