//! A cluster comes back without its masters: from a file, or from what the last of them has.
//!
//! The new first master goes on as the same cluster, so its agents follow it. Everything they may have heard since is behind it
//! ([`State::leap`](hancock_master_core::State::leap)), and its id is drawn anew: masters thought lost that come back find themselves
//! removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hancock_master_core::LEAP;
use hancock_proto::ids::{ClusterId, LogIndex};
use hancock_proto::time::{Clock, SystemClock};

use super::StartError;
use super::identity::RAFT;
use super::seat::{self, Stored};
use crate::access::Credentials;
use crate::backup::Backup;
use crate::raft::{self, Applied, Beginning, Member, Stopped};

/// What came back.
pub struct Revived {
    /// The cluster it is.
    pub cluster: ClusterId,
    /// The newest entry in it.
    pub index: LogIndex,
    /// Its secrets, when they were drawn just now.
    pub drawn: Option<Credentials>,
}

/// What one master that does not run knows.
pub struct Survivor {
    stored: Stored,
    stopped: Stopped,
}

/// Makes an empty directory the first master's of the cluster that `backup` was taken of; or, as a `copy`, of a new cluster with the
/// same content, which no agent of the first one follows.
///
/// # Errors
/// The directory belongs to a cluster already, or cannot be written.
pub fn restore_cluster(
    folder: &Path,
    backup: Backup,
    member: Member,
    copy: bool,
) -> Result<Revived, StartError> {
    seat::must_be_free(folder)?;
    let index = backup.head.index;
    let Backup {
        head,
        mut applied,
        credentials,
        ..
    } = backup;
    let cluster = match copy {
        true => seat::new_cluster()?,
        false => head.cluster,
    };
    if copy {
        applied.state.split_off(cluster.clone());
    }
    let (credentials, drawn) = match credentials {
        Some(kept) if !copy => (kept, None),
        // A copy is encrypted when what it is of was.
        former => {
            let encrypted = former.is_none_or(|former| former.is_encrypted());
            let drawn = seat::new_credentials(&cluster, encrypted, SystemClock.now())?;
            (drawn.clone(), Some(drawn))
        }
    };
    let stored = Stored::revived(cluster.clone(), credentials)?;
    let fresh = fresh(folder)?;
    write(&fresh, applied, head.term.0, stored.id, member)?;
    put(&fresh, &folder.join(RAFT))?;
    stored.put(folder)?;
    Ok(Revived {
        cluster,
        index,
        drawn,
    })
}

impl Survivor {
    /// Reads the directory of a master that does not run.
    ///
    /// # Errors
    /// It belongs to no cluster, or what is in it cannot be used.
    pub fn read(folder: &Path) -> Result<Self, StartError> {
        let stored = seat::load(folder)?;
        let stopped = Stopped::read(&folder.join(RAFT))?;
        Ok(Self { stored, stopped })
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &ClusterId {
        &self.stored.cluster
    }

    /// The newest entry of its log.
    pub fn index(&self) -> LogIndex {
        LogIndex(self.stopped.index())
    }

    /// Whether it was one of the masters at all, and had a vote.
    pub fn votes(&self) -> bool {
        self.stopped.voters().contains(&self.stored.id)
    }

    /// The other masters, and whether each of them votes.
    pub fn others(&self) -> Vec<(Member, bool)> {
        let (members, voters) = (self.stopped.members(), self.stopped.voters());
        let others = members.into_iter().filter(|(id, _)| *id != self.stored.id);
        others
            .map(|(id, member)| (member, voters.contains(&id)))
            .collect()
    }

    /// Makes it the only master, under a new id. What it had stays beside the new log; the folder's path is returned.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn become_only_master(self, folder: &Path, member: Member) -> Result<PathBuf, StartError> {
        let Self { stored, stopped } = self;
        let next = Stored::revived(stored.cluster.clone(), stored.credentials.clone())?;
        let fresh = fresh(folder)?;
        write(&fresh, stopped.applied, stopped.term, next.id, member)?;
        let (log, former) = (folder.join(RAFT), former(folder));
        fs::rename(&log, &former).map_err(|e| cannot("move", &log, &e))?;
        put(&fresh, &log)?;
        next.put(folder)?;
        Ok(former)
    }
}

/// A log that begins after `applied`, with everything in it beyond what anybody may have heard.
fn write(
    folder: &Path,
    mut applied: Applied,
    term: u64,
    id: u64,
    member: Member,
) -> Result<(), StartError> {
    applied.state.leap();
    let term = term + LEAP;
    Ok(raft::begin(
        folder,
        applied,
        Beginning { id, member, term },
    )?)
}

/// An empty folder beside the log's place: what is left of an attempt that ended early is removed.
fn fresh(folder: &Path) -> Result<PathBuf, StartError> {
    let fresh = folder.join(format!("{RAFT}.new"));
    match fs::remove_dir_all(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cannot("remove", &fresh, &e)),
        _ => Ok(fresh),
    }
}

/// A name nothing has yet.
fn former(folder: &Path) -> PathBuf {
    let names = (1..).map(|n: u32| folder.join(format!("{RAFT}.before-recovery-{n}")));
    let mut free = names.filter(|path| !path.exists());
    // There are more names than folders.
    free.next().unwrap_or_else(|| folder.join(RAFT))
}

fn put(fresh: &Path, place: &Path) -> Result<(), StartError> {
    let moved = fs::rename(fresh, place);
    moved.map_err(|e| cannot("put in place", place, &e))
}

fn cannot(deed: &str, path: &Path, error: &io::Error) -> StartError {
    StartError::DataDir(format!("cannot {deed} {}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
