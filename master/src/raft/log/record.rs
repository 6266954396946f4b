//! One record of a log segment, as bytes.
//!
//! ```text
//! length u32 · crc32 u32 · sequence u64 · flushed u64 · kind u8 · payload
//! ```
//! The checksum covers everything but itself. `flushed` is how much of the segment was durable when the record was written: a damaged
//! record *before* that mark was damaged after its flush, one behind it is what a crash leaves of a write.

/// Bytes before the payload.
pub(crate) const HEADER: usize = 25;
/// Largest payload accepted, so that a damaged length is not believed.
pub(crate) const MAX_PAYLOAD: usize = 64 << 20;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An entry.
    Entry,
    /// Entries behind an index are void.
    Truncate,
    /// Entries up to a log id are no longer needed.
    Purge,
    /// Entries up to a log id are committed.
    Committed,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Entry => 1,
            Kind::Truncate => 2,
            Kind::Purge => 3,
            Kind::Committed => 4,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Kind::Entry, Kind::Truncate, Kind::Purge, Kind::Committed]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// A record read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) sequence: u64,
    pub(crate) flushed: u64,
    pub(crate) kind: Kind,
    pub(crate) payload: &'a [u8],
}

impl Record<'_> {
    /// Bytes it takes in the segment.
    pub(crate) fn size(&self) -> usize {
        HEADER + self.payload.len()
    }
}

/// Appends a record to `out`.
pub(crate) fn write(out: &mut Vec<u8>, sequence: u64, flushed: u64, kind: Kind, payload: &[u8]) {
    let start = out.len();
    // Payloads are refused above MAX_PAYLOAD before they get here.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend(length.to_le_bytes());
    out.extend([0; 4]);
    out.extend(sequence.to_le_bytes());
    out.extend(flushed.to_le_bytes());
    out.push(kind.byte());
    out.extend(payload);
    let sum = checksum(&out[start..]);
    out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
}

/// The record at the beginning of `bytes`, or why there is none.
pub(crate) fn read(bytes: &[u8]) -> Result<Record<'_>, &'static str> {
    let header = bytes
        .get(..HEADER)
        .ok_or("the record's header is cut off")?;
    let length = usize::try_from(u32_at(header, 0)).unwrap_or(usize::MAX);
    if length > MAX_PAYLOAD {
        return Err("the record's length is impossible");
    }
    let whole = bytes
        .get(..HEADER + length)
        .ok_or("the record is cut off")?;
    if checksum(whole) != u32_at(header, 4) {
        return Err("the record's checksum does not fit its content");
    }
    Ok(Record {
        sequence: u64_at(header, 8),
        flushed: u64_at(header, 16),
        kind: Kind::of(header[24]).ok_or("the record is of an unknown kind")?,
        payload: &whole[HEADER..],
    })
}

/// What a record at the beginning of `bytes` would have as sequence and flushed mark.
pub(crate) fn numbers(bytes: &[u8]) -> Option<(u64, u64)> {
    let header = bytes.get(..HEADER)?;
    Some((u64_at(header, 8), u64_at(header, 16)))
}

fn checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..4]);
    hasher.update(&record[8..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}
