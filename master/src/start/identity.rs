//! What a data directory is: its format and its cluster, made once and kept.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use hancock_proto::ids::ClusterId;
use serde::{Deserialize, Serialize};

use super::StartError;

/// Folder of the replicated log.
pub(super) const RAFT: &str = "raft";
const FILE: &str = "master.json";
/// Format this version writes, and the highest it reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Identity {
    format: u32,
    cluster: ClusterId,
}

/// The directory's cluster; an empty directory gets a new one.
pub(super) fn keep(folder: &Path) -> Result<ClusterId, StartError> {
    refuse_cluster(folder)?;
    let path = folder.join(FILE);
    let cannot = |deed: &str, e: io::Error| {
        StartError::DataDir(format!("cannot {deed} {}: {e}", path.display()))
    };
    match fs::read_to_string(&path) {
        Ok(text) => read(&path, &text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            refuse_orphaned_log(folder, &path)?;
            create(folder).map_err(|e| cannot("write", e))
        }
        Err(e) => Err(cannot("read", e)),
    }
}

fn read(path: &Path, text: &str) -> Result<ClusterId, StartError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let damaged = |e: serde_json::Error| {
        let path = path.display();
        StartError::DataDir(format!("{path} is damaged: {e}; restore it from a copy"))
    };
    let head: Head = serde_json::from_str(text).map_err(damaged)?;
    if head.format > FORMAT {
        return Err(StartError::DataDir(format!(
            "{} is of format {}, this version knows formats up to {FORMAT}: start the newer version again",
            path.display(),
            head.format,
        )));
    }
    let identity: Identity = serde_json::from_str(text).map_err(damaged)?;
    Ok(identity.cluster)
}

/// Whether a directory is that of a master alone.
pub(super) fn is_there(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

/// Whether there is anything of a log.
pub(super) fn holds_log(folder: &Path) -> bool {
    fs::read_dir(folder.join(RAFT)).is_ok_and(|mut entries| entries.next().is_some())
}

/// One of several masters must not go on by itself.
fn refuse_cluster(folder: &Path) -> Result<(), StartError> {
    if super::seat::is_there(folder) {
        return Err(StartError::DataDir(format!(
            "{} is that of one of several masters; start it with `hancock master run`",
            folder.display()
        )));
    }
    Ok(())
}

/// A log without its identity must not become part of another cluster.
fn refuse_orphaned_log(folder: &Path, path: &Path) -> Result<(), StartError> {
    let log = folder.join(RAFT);
    if holds_log(folder) {
        return Err(StartError::DataDir(format!(
            "{} is missing beside the log in {}; restore it from a copy, or move the whole directory away to begin an empty cluster",
            path.display(),
            log.display(),
        )));
    }
    Ok(())
}

fn create(folder: &Path) -> io::Result<ClusterId> {
    fs::create_dir_all(folder)?;
    let mut random = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let cluster: ClusterId = hex.parse().map_err(io::Error::other)?;
    let identity = Identity {
        format: FORMAT,
        cluster: cluster.clone(),
    };
    let temporary = folder.join(format!("{FILE}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(&identity)?)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(FILE))?;
    File::open(folder)?.sync_all()?;
    Ok(cluster)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = keep(dir.path()).unwrap();
        assert_eq!(keep(dir.path()).unwrap(), first);
        assert_ne!(keep(&dir.path().join("other")).unwrap(), first);
    }

    #[test]
    fn a_newer_or_half_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), r#"{"format":2,"new":true}"#).unwrap();
        let error = keep(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("format 2") && error.contains(FILE),
            "{error}"
        );
        let half = tempfile::tempdir().unwrap();
        fs::create_dir_all(half.path().join(RAFT).join("x")).unwrap();
        let error = keep(half.path()).unwrap_err().to_string();
        assert!(error.contains("missing beside the log"), "{error}");
    }
}
