//! The few things a log needs of a disk, as a trait, so that tests can tear and lose writes.

#[cfg(test)]
pub(crate) mod memory;
pub(crate) mod room;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A folder of files, named without a path.
pub(crate) trait Files: Send + Sync + 'static {
    /// All names, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// The whole file; None: there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Writes at the end of an existing file; not durable before [`Files::sync`]. When there is no room, nothing is written.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended durable.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Cuts the file to `length`, durably.
    fn cut(&self, name: &str, length: u64) -> io::Result<()>;
    /// Puts a whole file in place, durably: the old one or the new one, never a mixture.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file, durably.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Where the file is, for messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// A folder on disk.
pub(crate) struct Disk {
    folder: PathBuf,
    /// The file appended to last stays open.
    open: Mutex<Option<(String, File)>>,
}

impl Disk {
    /// The folder, made when missing.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            open: Mutex::new(None),
        })
    }

    fn with_open<T>(
        &self,
        name: &str,
        deed: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|(have, _)| have != name) {
            let file = OpenOptions::new().append(true).open(self.path(name))?;
            *open = Some((name.to_owned(), file));
        }
        match open.as_mut() {
            Some((_, file)) => deed(file),
            None => Err(io::Error::other("no open file")),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with_open(name, |file| {
            let length = file.metadata()?.len();
            file.write_all(bytes).map_err(|error| {
                // What did fit is half a record. Behind one that stays nothing may be written.
                let cut = file.set_len(length);
                cut.map_or_else(io::Error::other, |()| error)
            })
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.with_open(name, |file| file.sync_data())
    }

    fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(name))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path(&format!("{name}.tmp"));
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path(name))?;
        self.sync_folder()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => self.sync_folder(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
