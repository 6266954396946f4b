//! Where a running daemon is asked for its upgrade: a socket in its data directory, for its own user alone.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use super::message::{Answer, Wish};
use super::wire::Wire;
use crate::boot::DataDir;

const FILE: &str = "upgrade.sock";
/// Time whoever asks has to say what, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an accept failed.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Door(UnixListener);

/// Somebody who waits for an answer.
pub struct Asking(Wire);

impl Door {
    /// Opens it, in place of the one that another process has open there.
    pub fn open(data: &DataDir) -> io::Result<Self> {
        let folder = Folder::open(data.path())?;
        let fresh = format!("{FILE}.{}", std::process::id());
        remove(&folder.join(&fresh))?;
        let listener = UnixListener::bind(folder.join(&fresh))?;
        std::fs::set_permissions(folder.join(&fresh), Permissions::from_mode(0o600))?;
        std::fs::rename(folder.join(&fresh), folder.join(FILE))?;
        Ok(Self(listener))
    }

    /// Opens it again, after another process had it in vain.
    pub fn reopen(&mut self, data: &DataDir) -> io::Result<()> {
        *self = Self::open(data)?;
        Ok(())
    }

    /// The next wish. Safe to drop and call again.
    pub async fn next(&self) -> (Wish, Asking) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let mut wire = Wire::new(stream);
                    match timeout(PATIENCE, wire.receive()).await {
                        Ok(Ok(Some((wish, _)))) => return (wish, Asking(wire)),
                        _ => tracing::warn!("whoever asked for an upgrade did not say which"),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot hear who asks for an upgrade");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Asking {
    pub async fn answer(&mut self, answer: &Answer) {
        if !matches!(
            timeout(PATIENCE, self.0.send(answer, &[])).await,
            Ok(Ok(()))
        ) {
            tracing::warn!("whoever asked for an upgrade did not wait for the answer");
        }
    }
}

/// The door of the daemon in a data directory.
pub async fn knock(data_dir: &Path) -> io::Result<Wire> {
    let folder = Folder::open(data_dir)?;
    UnixStream::connect(folder.join(FILE)).await.map(Wire::new)
}

/// A folder by its descriptor: the path of a socket may not be longer than 107 bytes, that of a folder may.
pub(super) struct Folder(File);

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
