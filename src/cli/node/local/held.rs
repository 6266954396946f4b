//! Agents that run on this machine. Whoever holds a data directory with an agent in it may look after instances, and would start again what
//! is ended.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hancock_agent::journal::Journal;
use hancock_proto::ids::ClusterId;

use crate::boot;

/// Folder of a data directory in which an agent remembers what it is told.
const AGENT: &str = "agent";

/// A lock's file, by device and number.
type Lock = (u64, u64);

/// A process that holds a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    /// As that process calls it. None: it cannot be told.
    pub(super) data: Option<PathBuf>,
    /// Its cluster; None: it never heard one, so it runs nothing. Err: why that cannot be told.
    pub(super) cluster: Result<Option<ClusterId>, String>,
}

impl Holder {
    pub(super) fn is_of(&self, cluster: &ClusterId) -> bool {
        matches!(&self.cluster, Ok(Some(of)) if of == cluster)
    }

    /// Who cannot be looked at may be of any.
    pub(super) fn may_be_of(&self, cluster: &ClusterId) -> bool {
        self.cluster.is_err() || self.is_of(cluster)
    }

    /// Of the data directory that is found at `path` and called `data`.
    fn of(pid: u32, path: &Path, data: PathBuf) -> Self {
        let record = Journal::at(&path.join(AGENT)).load();
        Self {
            pid,
            data: Some(data),
            cluster: record
                .map(|record| record.session.cluster)
                .map_err(|error| error.to_string()),
        }
    }
}

/// Whoever holds `named`, and every other agent of this machine, as far as this user may look.
///
/// # Errors
/// The lock of `named` cannot be looked at, or the processes cannot.
pub(super) fn all(named: &Path) -> anyhow::Result<Vec<Holder>> {
    // By file of the lock: two processes have the same open while one takes over from the other.
    let mut found = BTreeMap::new();
    if let (Some(pid), Some(lock)) = (boot::holder(named)?, identity(&named.join("lock"))) {
        found.insert(lock, Holder::of(pid, named, named.to_owned()));
    }
    let mut closed = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        match locks(pid) {
            Ok(locks) => {
                for (lock, holder) in locks {
                    found.entry(lock).or_insert(holder);
                }
            }
            Err(ErrorKind::PermissionDenied) if is_agent(pid) => closed.push(Holder {
                pid,
                data: None,
                cluster: Err("it is another user's".to_owned()),
            }),
            // It has ended meanwhile, or is no agent.
            Err(_) => {}
        }
    }
    closed.retain(|holder| found.values().all(|known| known.pid != holder.pid));
    Ok(found.into_values().chain(closed).collect())
}

/// Data directories with an agent in them whose locks the process has open.
fn locks(pid: u32) -> Result<Vec<(Lock, Holder)>, ErrorKind> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).map_err(|error| error.kind())?;
    let paths = open
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    let locks = paths.filter(|path| path.file_name().is_some_and(|name| name == "lock"));
    let holders = locks.filter_map(|lock| {
        let data = lock.parent()?;
        // Its root may be another one, as in a container.
        let path = Path::new("/proc").join(pid.to_string()).join("root");
        let path = path.join(data.strip_prefix("/").ok()?);
        if !path.join(AGENT).is_dir() {
            return None;
        }
        let held = boot::holder(&path).ok()??;
        tracing::debug!(pid, held, path = %path.display(), "data directory held");
        let lock = identity(&path.join("lock"))?;
        Some((lock, Holder::of(pid, &path, data.to_owned())))
    });
    Ok(holders.collect())
}

fn identity(file: &Path) -> Option<Lock> {
    let meta = fs::metadata(file).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// As far as its command line tells.
fn is_agent(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let mut words = line.split('\0');
    let program = words.next().and_then(|word| word.rsplit('/').next());
    program == Some("hancock") && words.any(|word| word == "agent" || word == "dev")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::boot::DataDir;

    #[test]
    fn who_cannot_be_looked_at_may_be_of_any_cluster() {
        let holder = |cluster| Holder {
            pid: 1,
            data: None,
            cluster,
        };
        let c1: ClusterId = "c1".parse().unwrap();
        assert!(holder(Ok(Some(c1.clone()))).may_be_of(&c1));
        assert!(!holder(Ok(Some("c2".parse().unwrap()))).may_be_of(&c1));
        assert!(!holder(Ok(None)).may_be_of(&c1));
        let closed = holder(Err("closed".to_owned()));
        assert!(closed.may_be_of(&c1) && !closed.is_of(&c1));
    }

    #[test]
    fn the_named_directory_is_looked_at_first() {
        let dir = tempfile::tempdir().unwrap();
        let of = |all: Vec<Holder>| {
            let mine = |holder: &Holder| holder.data.as_deref() == Some(dir.path());
            all.into_iter().find(mine)
        };
        assert_eq!(of(all(dir.path()).unwrap()), None);
        let held = DataDir::open(dir.path()).unwrap();
        let found = of(all(dir.path()).unwrap()).unwrap();
        assert_eq!((found.pid, found.cluster), (std::process::id(), Ok(None)));
        fs::create_dir(dir.path().join(AGENT)).unwrap();
        fs::write(dir.path().join("agent/agent.journal"), "torn").unwrap();
        let found = of(all(dir.path()).unwrap()).unwrap();
        assert!(found.cluster.unwrap_err().contains("damaged"));
        drop(held);
        assert_eq!(of(all(dir.path()).unwrap()), None);
    }
}
