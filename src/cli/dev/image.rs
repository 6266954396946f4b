//! The demo's image: this very binary with the shared libraries it runs with, as one layer. Needs no registry and no `docker` command.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where the binary is inside the image.
pub const BINARY: &str = "/hancock";

/// A tag that changes with the binary, so that an image is made once per build.
///
/// # Errors
/// The binary cannot be looked at.
pub fn tag(binary: &Path) -> anyhow::Result<String> {
    let about =
        fs::metadata(binary).with_context(|| format!("cannot look at {}", binary.display()))?;
    // Its contents would say it better, but reading a debug build takes seconds.
    Ok(format!("hancock-demo:{}-{}", about.mtime(), about.len()))
}

/// The layer as a tar archive.
///
/// # Errors
/// The binary or one of its libraries cannot be read.
pub fn layer(binary: &Path) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    // The engine does not know sparse entries.
    tar.sparse(false);
    let mut add = |from: &Path, to: &Path| {
        let inside = to.strip_prefix("/").unwrap_or(to);
        tar.append_path_with_name(from, inside)
            .with_context(|| format!("cannot add {} to the demo image", from.display()))
    };
    add(binary, Path::new(BINARY))?;
    for library in libraries()? {
        // The loader's fixed path is often a link: the file goes where the link is, under every name it is asked for by.
        let real = fs::canonicalize(&library)
            .with_context(|| format!("cannot find {}", library.display()))?;
        add(&real, &library)?;
    }
    tar.into_inner().context("cannot finish the demo image")
}

/// Shared libraries of this process, by the paths the loader uses.
fn libraries() -> anyhow::Result<BTreeSet<PathBuf>> {
    let maps = fs::read_to_string("/proc/self/maps").context("cannot read /proc/self/maps")?;
    let mapped = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5));
    let libraries = mapped.filter(|path| path.starts_with('/') && path.contains(".so"));
    let mut found: BTreeSet<PathBuf> = libraries.map(PathBuf::from).collect();
    // The kernel starts the loader by the path written in the binary, not by the one it is mapped from.
    found.extend(
        ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
            .map(PathBuf::from)
            .into_iter()
            .filter(|p| p.exists()),
    );
    Ok(found)
}
