//! Small whole files with a checksum and a format number: vote, snapshot.

use super::error::StoreError;
use super::files::Files;

const MAGIC: &[u8; 8] = b"HANCOCKF";
/// Format this version writes, and the highest it reads.
pub(crate) const FORMAT: u32 = 1;
/// Magic, format, checksum.
const HEADER: usize = 16;

/// Puts `payload` in place as `name`.
pub(crate) fn write(files: &dyn Files, name: &str, payload: &[u8]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(crc32fast::hash(payload).to_le_bytes());
    bytes.extend(payload);
    files.replace(name, &bytes)
}

/// The payload of `name`; None: there is no such file.
pub(crate) fn read(files: &dyn Files, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes = files
        .read(name)
        .map_err(|e| StoreError::io("read", files.path(name), e))?;
    bytes.map(|bytes| open(files, name, bytes)).transpose()
}

fn open(files: &dyn Files, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let damaged = |what: &str| StoreError::damaged(files.path(name), 0, what);
    let (Some(magic), Some(format), Some(sum)) =
        (bytes.get(..8), number(&bytes, 8), number(&bytes, 12))
    else {
        return Err(damaged("the file is shorter than its header"));
    };
    if magic != MAGIC {
        return Err(damaged("the file does not begin as it should"));
    }
    if format > FORMAT {
        return Err(StoreError::Newer {
            path: files.path(name),
            found: format,
            known: FORMAT,
        });
    }
    let payload = bytes[HEADER..].to_vec();
    if crc32fast::hash(&payload) != sum {
        return Err(damaged("the checksum does not fit the content"));
    }
    Ok(payload)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}
