//! The file's frame: a beginning with a format number, then blocks with a checksum each, and an end without which it is cut off.
//!
//! ```text
//! "HANCOCKB" · format u32 · block…
//! block: kind u8 · length u32 · crc32 u32 · payload      (the checksum covers kind, length and payload)
//! ```

use std::ops::Range;

const MAGIC: &[u8; 8] = b"HANCOCKB";
/// Format this version writes, and the highest it reads.
pub(crate) const FORMAT: u32 = 1;
/// Magic and format.
const BEGINNING: usize = 12;
/// Bytes of a block before its payload.
pub(super) const HEADER: usize = 9;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the file says about itself, as JSON; the first block.
    Head,
    /// The cluster's secrets, as JSON.
    Secrets,
    /// A piece of the state.
    State,
    /// The last block: the checksum of the whole state.
    End,
}

/// What does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) offset: u64,
    pub(crate) what: String,
}

/// Why bytes are no snapshot.
#[derive(Debug)]
pub(crate) enum Unread {
    Fault(Fault),
    /// Of a format only a newer version knows.
    Newer {
        found: u32,
        known: u32,
    },
}

/// What the blocks hold; with the offsets of their blocks.
pub(super) struct Parts<'a> {
    pub(super) format: u32,
    pub(super) head: (usize, &'a [u8]),
    pub(super) secrets: Option<(usize, &'a [u8])>,
    pub(super) state: Vec<u8>,
}

impl Fault {
    pub(super) fn new(offset: usize, what: impl Into<String>) -> Self {
        Self {
            offset: offset as u64,
            what: what.into(),
        }
    }
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Unread::Fault(fault)
    }
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Head, Kind::Secrets, Kind::State, Kind::End];

    fn byte(self) -> u8 {
        match self {
            Kind::Head => 1,
            Kind::Secrets => 2,
            Kind::State => 3,
            Kind::End => 4,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// A file's first bytes.
pub(super) fn begin() -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(FORMAT.to_le_bytes());
    out
}

/// Appends a block.
pub(super) fn write(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    // Payloads are pieces of bounded size.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.push(kind.byte());
    out.extend(length.to_le_bytes());
    out.extend(checksum(kind.byte(), length, payload).to_le_bytes());
    out.extend(payload);
}

/// Reads a file from its first byte to its last.
pub(super) fn read(bytes: &[u8]) -> Result<Parts<'_>, Unread> {
    let format = format(bytes)?;
    let mut at = BEGINNING;
    let (Kind::Head, head) = block(bytes, at)? else {
        return Err(Fault::new(at, "the first block is not the head").into());
    };
    let mut parts = Parts {
        format,
        head: (at, &bytes[head.clone()]),
        secrets: None,
        state: Vec::new(),
    };
    at = head.end;
    loop {
        let (kind, payload) = block(bytes, at)?;
        let content = &bytes[payload.clone()];
        match kind {
            Kind::Head => return Err(Fault::new(at, "there is a second head").into()),
            Kind::Secrets => parts.secrets = Some((at, content)),
            Kind::State => parts.state.extend(content),
            Kind::End => {
                end(bytes, at, payload, &parts.state)?;
                return Ok(parts);
            }
        }
        at = payload.end;
    }
}

fn format(bytes: &[u8]) -> Result<u32, Unread> {
    let beginning = bytes
        .get(..BEGINNING)
        .ok_or_else(|| Fault::new(0, "the file is shorter than its beginning"))?;
    if &beginning[..MAGIC.len()] != MAGIC {
        return Err(Fault::new(0, "the file does not begin as a snapshot does").into());
    }
    let found = u32_at(beginning, MAGIC.len());
    if found > FORMAT {
        let known = FORMAT;
        return Err(Unread::Newer { found, known });
    }
    if found == 0 {
        return Err(Fault::new(MAGIC.len(), "there is no format 0").into());
    }
    Ok(found)
}

/// The block at `at`: its kind, and where its payload is.
fn block(bytes: &[u8], at: usize) -> Result<(Kind, Range<usize>), Fault> {
    let cut = || Fault::new(at, "the file is cut off here");
    let header = bytes.get(at..at + HEADER).ok_or_else(cut)?;
    let (kind, length, sum) = (header[0], u32_at(header, 1), u32_at(header, 5));
    let begin = at + HEADER;
    let end = usize::try_from(length)
        .ok()
        .and_then(|l| begin.checked_add(l));
    let range = begin..end.ok_or_else(cut)?;
    let payload = bytes.get(range.clone()).ok_or_else(cut)?;
    if checksum(kind, length, payload) != sum {
        return Err(Fault::new(
            at,
            "the block's checksum does not fit its content",
        ));
    }
    let known = Kind::of(kind).ok_or_else(|| Fault::new(at, "the block is of an unknown kind"))?;
    Ok((known, range))
}

fn end(bytes: &[u8], at: usize, payload: Range<usize>, state: &[u8]) -> Result<(), Fault> {
    if bytes[payload.clone()] != crc32fast::hash(state).to_le_bytes() {
        return Err(Fault::new(
            at,
            "blocks of the state are missing or in another order",
        ));
    }
    if payload.end != bytes.len() {
        return Err(Fault::new(payload.end, "there is more behind the end"));
    }
    Ok(())
}

fn checksum(kind: u8, length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}
