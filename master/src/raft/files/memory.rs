//! A disk in memory that forgets what was not flushed, tears what was half written, and fails when told to.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Files;

/// The device. Clones share the files.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, Stored>,
    fail_syncs: bool,
    /// Bytes of all files together; None: there is always room.
    room: Option<usize>,
    syncs: usize,
}

#[derive(Clone, Default)]
struct Stored {
    bytes: Vec<u8>,
    /// How much of it a crash cannot take.
    durable: usize,
}

impl Inner {
    /// Whether there is room for so many bytes more.
    fn fits(&self, more: usize) -> io::Result<()> {
        let used: usize = self.files.values().map(|stored| stored.bytes.len()).sum();
        match self.room.is_some_and(|room| used + more > room) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// From now on every flush fails, or no longer.
    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.lock().fail_syncs = fail;
    }

    /// From now on all files together may have so many bytes more; None: there is always room.
    pub(crate) fn leave_room(&self, more: Option<usize>) {
        let mut inner = self.lock();
        let used: usize = inner.files.values().map(|stored| stored.bytes.len()).sum();
        inner.room = more.map(|more| used + more);
    }

    /// Flushes so far.
    pub(crate) fn syncs(&self) -> usize {
        self.lock().syncs
    }

    /// Flushed bytes of a file.
    pub(crate) fn durable(&self, name: &str) -> usize {
        self.lock().files[name].durable
    }

    /// What a machine finds after a crash: of the bytes not flushed, `keep` per mille remain, and of those each block of `block` bytes
    /// whose bit in `holes` is set was never written.
    pub(crate) fn crash(&self, keep: usize, block: usize, holes: u64) -> Memory {
        let mut files = self.lock().files.clone();
        for stored in files.values_mut() {
            let loose = stored.bytes.len() - stored.durable;
            stored
                .bytes
                .truncate(stored.durable + loose * keep.min(1000) / 1000);
            let tail = &mut stored.bytes[stored.durable..];
            for (n, piece) in tail.chunks_mut(block.max(1)).enumerate() {
                if holes >> (n % 64) & 1 == 1 {
                    piece.fill(0);
                }
            }
            stored.durable = stored.bytes.len();
        }
        let inner = Inner {
            files,
            ..Inner::default()
        };
        Memory {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Changes stored bytes behind everybody's back.
    pub(crate) fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let stored = inner.files.get_mut(name).unwrap();
        change(&mut stored.bytes);
        stored.durable = stored.bytes.len();
    }
}

impl Files for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.lock().files.get(name).map(|s| s.bytes.clone()))
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.fits(bytes.len())?;
        let stored = inner.files.get_mut(name);
        stored.ok_or(io::ErrorKind::NotFound)?.bytes.extend(bytes);
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.fail_syncs {
            return Err(io::Error::other("the device does not flush"));
        }
        inner.syncs += 1;
        let stored = inner.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        stored.durable = stored.bytes.len();
        Ok(())
    }

    fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        let mut inner = self.lock();
        let stored = inner.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        stored.bytes.truncate(usize::try_from(length).unwrap());
        stored.durable = stored.bytes.len();
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.fail_syncs {
            return Err(io::Error::other("the device does not flush"));
        }
        inner.fits(bytes.len())?;
        let stored = Stored {
            bytes: bytes.to_vec(),
            durable: bytes.len(),
        };
        inner.files.insert(name.to_owned(), stored);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().files.remove(name);
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/memory").join(name)
    }
}
