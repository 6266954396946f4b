//! A small disk that can be filled up.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk in memory, until it is dropped.
#[derive(Debug)]
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// A disk of so many KiB in place of the directory `path`, which is made when it is missing; None: it may not be mounted here,
    /// which is recorded as a skip.
    ///
    /// # Panics
    /// When the directory cannot be made.
    pub fn mount(path: &Path, kib: u32) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let size = format!("size={kib}k");
        let mut mount = Command::new("mount");
        let args = ["-t", "tmpfs", "-o", &size, "tmpfs"].map(OsStr::new);
        let ran = mount.args(args).arg(path).output();
        if !ran.is_ok_and(|ran| ran.status.success()) {
            crate::skip::skip(&crate::skip::test_name(), "a tmpfs cannot be mounted");
            return None;
        }
        Some(Self(path.to_owned()))
    }

    /// Leaves no room at all, in a file of its own.
    ///
    /// # Panics
    /// When something else than a lack of room ends it.
    pub fn fill(&self) {
        let mut block = 64 * 1024;
        let mut all = Vec::new();
        while block > 0 {
            let longer = [&all[..], &vec![1; block]].concat();
            match std::fs::write(self.0.join("ballast"), &longer) {
                Ok(()) => all = longer,
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
                    block /= 2;
                }
            }
        }
    }

    /// There is room again.
    ///
    /// # Panics
    /// When the disk was not filled.
    pub fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: files may still be open. What stays mounted goes with the machine.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
