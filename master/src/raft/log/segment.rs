//! One file of the log: a header and records.

use super::record::{self, Record};
use crate::raft::error::StoreError;
use crate::raft::files::Files;

const MAGIC: &[u8; 8] = b"HANCOCKL";
/// Format this version writes, and the highest it reads.
pub(crate) const FORMAT: u32 = 1;
/// Magic, format, checksum, first sequence number.
pub(crate) const HEADER: usize = 24;
const PREFIX: &str = "log-";

/// The name of the segment that begins with record `first`.
pub(crate) fn name(first: u64) -> String {
    format!("{PREFIX}{first:020}")
}

/// The first sequence number a segment's name tells; None: not a segment.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Puts an empty segment in place; durable, so a torn header cannot be.
pub(crate) fn create(files: &dyn Files, first: u64) -> std::io::Result<String> {
    let mut tail = Vec::from(FORMAT.to_le_bytes());
    tail.extend(first.to_le_bytes());
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(crc32fast::hash(&tail).to_le_bytes());
    bytes.extend(first.to_le_bytes());
    let name = name(first);
    files.replace(&name, &bytes)?;
    Ok(name)
}

/// Checks the header and returns the first sequence number.
pub(crate) fn open(files: &dyn Files, name: &str, bytes: &[u8]) -> Result<u64, StoreError> {
    let damaged = |what: &str| StoreError::damaged(files.path(name), 0, what);
    let header = bytes
        .get(..HEADER)
        .ok_or_else(|| damaged("the file is shorter than its header"))?;
    if &header[..8] != MAGIC {
        return Err(damaged("the file does not begin as a log segment does"));
    }
    let format = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if format > FORMAT {
        let path = files.path(name);
        return Err(StoreError::Newer {
            path,
            found: format,
            known: FORMAT,
        });
    }
    let mut covered = header[8..12].to_vec();
    covered.extend(&header[16..24]);
    if crc32fast::hash(&covered).to_le_bytes() != header[12..16] {
        return Err(damaged("the header's checksum does not fit"));
    }
    let mut first = [0; 8];
    first.copy_from_slice(&header[16..24]);
    Ok(u64::from_le_bytes(first))
}

/// Where the readable part of a segment ends, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the last byte.
    Clean,
    /// With what a crash left of a write that was never acknowledged: from `offset` on.
    Torn { offset: usize, what: &'static str },
    /// With bytes that had been flushed and are no longer readable.
    Damaged { offset: usize, what: &'static str },
}

/// All readable records with their offsets, and how the segment ends.
pub(crate) fn records(bytes: &[u8], first: u64) -> (Vec<(usize, Record<'_>)>, End) {
    let (mut at, mut expected, mut out) = (HEADER, first, Vec::new());
    while at < bytes.len() {
        let what = match record::read(&bytes[at..]) {
            Ok(record) if record.sequence == expected => {
                expected += 1;
                let size = record.size();
                out.push((at, record));
                at += size;
                continue;
            }
            Ok(_) => "the record is not the next one",
            Err(what) => what,
        };
        let end = judge(bytes, at, expected, what);
        return (out, end);
    }
    (out, End::Clean)
}

/// A bad record that later records say was flushed is damage; otherwise it is the rest of an unfinished write.
fn judge(bytes: &[u8], offset: usize, expected: u64, what: &'static str) -> End {
    let was_flushed = (offset + 1..bytes.len())
        // Looking at the numbers first keeps the search linear: checksums are only taken where a record is likely.
        .filter(|at| {
            record::numbers(&bytes[*at..]).is_some_and(|(sequence, flushed)| {
                let ahead = sequence.wrapping_sub(expected);
                ahead <= bytes.len() as u64 && flushed > offset as u64
            })
        })
        .any(|at| record::read(&bytes[at..]).is_ok());
    if was_flushed {
        End::Damaged { offset, what }
    } else {
        End::Torn { offset, what }
    }
}
