//! Reads a log back after a start: replays every segment, cuts off what a crash left, refuses what was damaged.

use std::collections::BTreeMap;

use hancock_master_core::Format;
use serde::de::DeserializeOwned;

use super::record::{Kind, Record};
use super::segment::{self, End};
use crate::raft::error::StoreError;
use crate::raft::files::Files;
use crate::raft::types::{Entry, LogId};

/// A segment and the highest index any of its entries has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) highest: Option<u64>,
}

/// The log as it was.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) entries: BTreeMap<u64, Entry>,
    pub(crate) purged: Option<LogId>,
    pub(crate) committed: Option<LogId>,
    /// Oldest first; the last one is written to.
    pub(crate) segments: Vec<Segment>,
    /// Sequence of the next record.
    pub(crate) sequence: u64,
    /// Length of the last segment.
    pub(crate) length: u64,
}

/// Reads everything.
pub(crate) fn recover(files: &dyn Files) -> Result<Recovered, StoreError> {
    let names = files
        .list()
        .map_err(|e| StoreError::io("list", files.path(""), e))?;
    let mut names: Vec<(u64, String)> = names
        .into_iter()
        .filter_map(|name| Some((segment::first_of(&name)?, name)))
        .collect();
    names.sort();
    let mut out = Recovered {
        sequence: names.first().map_or(1, |(first, _)| *first),
        ..Recovered::default()
    };
    let last = names.len().saturating_sub(1);
    for (n, (_, name)) in names.iter().enumerate() {
        read_segment(files, name, n == last, &mut out)?;
    }
    check_beginning(files, &out)?;
    if let Some(last) = out.segments.last() {
        // What an earlier process wrote without a flush is now counted as durable: make it so.
        files
            .sync(&last.name)
            .map_err(|e| StoreError::io("flush", files.path(&last.name), e))?;
    }
    Ok(out)
}

fn read_segment(
    files: &dyn Files,
    name: &str,
    is_last: bool,
    out: &mut Recovered,
) -> Result<(), StoreError> {
    let bytes = files
        .read(name)
        .map_err(|e| StoreError::io("read", files.path(name), e))?
        .unwrap_or_default();
    let first = segment::open(files, name, &bytes)?;
    if first != out.sequence {
        let what = format!(
            "it begins with record {first}, record {} is missing",
            out.sequence
        );
        return Err(StoreError::damaged(files.path(name), 0, what));
    }
    out.segments.push(Segment {
        name: name.to_owned(),
        highest: None,
    });
    let (records, end) = segment::records(&bytes, first);
    for (offset, record) in &records {
        replay(record, out).map_err(|what| what.at(files, name, *offset as u64))?;
        out.sequence = record.sequence + 1;
    }
    out.length = settle_end(files, name, is_last, bytes.len(), &end)?;
    Ok(())
}

/// Length of the segment from now on.
fn settle_end(
    files: &dyn Files,
    name: &str,
    is_last: bool,
    length: usize,
    end: &End,
) -> Result<u64, StoreError> {
    let path = files.path(name);
    match *end {
        End::Clean => Ok(length as u64),
        End::Torn { offset, what } if is_last => {
            let lost = length - offset;
            tracing::warn!(
                file = %path.display(), offset, bytes = lost, reason = what,
                "unfinished write cut off the end of the raft log; nothing acknowledged was in it"
            );
            files
                .cut(name, offset as u64)
                .map_err(|e| StoreError::io("cut", path, e))?;
            Ok(offset as u64)
        }
        // A segment is flushed whole before the next one begins.
        End::Torn { offset, what } | End::Damaged { offset, what } => {
            Err(StoreError::damaged(path, offset as u64, what))
        }
    }
}

/// Why a record that is whole cannot be replayed.
enum Unreadable {
    Content(String),
    Newer(Format),
}

impl Unreadable {
    fn at(self, files: &dyn Files, name: &str, offset: u64) -> StoreError {
        let path = files.path(name);
        match self {
            Unreadable::Content(what) => StoreError::damaged(path, offset, what),
            Unreadable::Newer(found) => StoreError::Newer {
                path,
                found: found.0,
                known: Format::NEWEST.0,
            },
        }
    }
}

fn replay(record: &Record<'_>, out: &mut Recovered) -> Result<(), Unreadable> {
    match record.kind {
        Kind::Entry => {
            let entry: Entry = entry(record.payload)?;
            let index = entry.log_id.index;
            let follows = out
                .entries
                .last_key_value()
                .is_none_or(|(last, _)| index == last + 1);
            if !follows {
                let what = format!("entry {index} does not follow the one before");
                return Err(Unreadable::Content(what));
            }
            out.entries.insert(index, entry);
            if let Some(segment) = out.segments.last_mut() {
                segment.highest = segment.highest.max(Some(index));
            }
        }
        Kind::Truncate => {
            let after: Option<LogId> = json(record.payload)?;
            truncate(&mut out.entries, after.as_ref());
        }
        Kind::Purge => {
            let upto: LogId = json(record.payload)?;
            purge(&mut out.entries, &upto);
            out.purged = out.purged.max(Some(upto));
        }
        Kind::Committed => out.committed = json(record.payload)?,
    }
    Ok(())
}

/// Removes entries behind `after`; None: all.
pub(crate) fn truncate(entries: &mut BTreeMap<u64, Entry>, after: Option<&LogId>) {
    drop(entries.split_off(&after.map_or(0, |id| id.index + 1)));
}

/// Removes entries up to `upto`, included.
pub(crate) fn purge(entries: &mut BTreeMap<u64, Entry>, upto: &LogId) {
    *entries = entries.split_off(&(upto.index + 1));
}

fn entry(payload: &[u8]) -> Result<Entry, Unreadable> {
    // The format is looked at first: a newer one may hold commands unknown here.
    let newer = serde_json::from_slice::<serde_json::Value>(payload)
        .ok()
        .and_then(|entry| format_of(&entry))
        .filter(|format| !format.is_known());
    match (newer, json(payload)) {
        (Some(format), _) => Err(Unreadable::Newer(format)),
        (None, read) => read,
    }
}

/// The format of an entry whose command may be unknown here; None: it holds none.
pub(crate) fn format_of(entry: &serde_json::Value) -> Option<Format> {
    let format = entry.pointer("/payload/Normal/v")?.as_u64()?;
    Some(Format(u32::try_from(format).unwrap_or(u32::MAX)))
}

fn json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(payload).map_err(|e| Unreadable::Content(e.to_string()))
}

/// The first entry must be the one after what was purged; otherwise a segment is gone.
fn check_beginning(files: &dyn Files, out: &Recovered) -> Result<(), StoreError> {
    let Some((first, _)) = out.entries.first_key_value() else {
        return Ok(());
    };
    let wanted = out.purged.as_ref().map_or(0, |id| id.index + 1);
    if *first == wanted {
        return Ok(());
    }
    let name = out.segments.first().map_or("", |s| s.name.as_str());
    let what = format!("the log begins with entry {first}, entry {wanted} is missing");
    Err(StoreError::damaged(files.path(name), 0, what))
}
