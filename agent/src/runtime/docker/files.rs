//! Files of a spec in containers: kept in the agent's folder and mounted, so that they are there with a root file system that cannot be
//! written, and need no right but to read them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bollard::models::{Mount, MountType};
use hancock_agent_core::environment::StartSpec;

use super::RuntimeError;
use crate::runtime::given;

/// Where those of one container are.
pub(super) fn folder(all: &Path, container: &str) -> PathBuf {
    all.join(container)
}

/// Writes them down.
pub(super) fn put(folder: &Path, spec: &StartSpec) -> Result<(), RuntimeError> {
    let put = given::put(&spec.files, |n, _| folder.join(n.to_string()));
    put.map_err(|e| RuntimeError::failed("start", &spec.instance, e))
}

pub(super) fn mounts(folder: &Path, spec: &StartSpec) -> Vec<Mount> {
    let each = spec.files.iter().enumerate();
    let mount = |(n, file): (usize, &hancock_proto::app::File)| Mount {
        typ: Some(MountType::BIND),
        source: Some(folder.join(n.to_string()).display().to_string()),
        target: Some(file.target.clone()),
        read_only: Some(true),
        ..Mount::default()
    };
    each.map(mount).collect()
}

/// Removes them; none is fine.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
