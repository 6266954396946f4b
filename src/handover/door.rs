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
        let listener = bind(&folder, &fresh)?;
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
            let mut wire = accept(&self.0).await;
            match timeout(PATIENCE, wire.receive()).await {
                Ok(Ok(Some((wish, _)))) => return (wish, Asking(wire)),
                _ => tracing::warn!("whoever asked for an upgrade did not say which"),
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

/// Listens at a fresh socket, for this process's own user alone.
pub(super) fn bind(folder: &Folder, name: &str) -> io::Result<UnixListener> {
    let path = folder.join(name);
    remove(&path)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The next one who connects. Safe to drop and call again.
pub(super) async fn accept(listener: &UnixListener) -> Wire {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Wire::new(stream),
            Err(error) => {
                tracing::warn!(%error, "cannot hear who speaks to this process");
                sleep(PAUSE).await;
            }
        }
    }
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
