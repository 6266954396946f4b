//! Turns a program and the shared libraries it needs into a Docker image, without a registry and without a Dockerfile.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::docker;

/// Marks images made here, so that old ones can be told from anybody else's.
const LABEL: &str = "hancock.test-image";

/// Makes an image of `program` (there as `/<its name>`, also the entry point) unless this very file has one, and gives its tag.
///
/// # Errors
/// A step that failed, with what the tool said.
pub fn of(program: &Path) -> Result<String, String> {
    with(program, &[])
}

/// The same with `tools` at their own paths.
///
/// # Errors
/// As [`of`].
pub fn with(program: &Path, tools: &[&str]) -> Result<String, String> {
    let name = program
        .file_name()
        .ok_or("a program has a name")?
        .to_string_lossy()
        .into_owned();
    let meta = fs::metadata(program).map_err(|e| format!("{}: {e}", program.display()))?;
    let tag = format!(
        "hancock-test/{name}:{:x}-{:x}-{:x}{}",
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        tools.concat().replace('/', "-")
    );
    if docker::run(&["image", "inspect", "--format", "{{.Id}}", &tag]).is_err() {
        let root = tempfile::tempdir().map_err(|e| e.to_string())?;
        lay_out(program, &name, tools, root.path())?;
        import(root.path(), &name, &tag)?;
        forget_old();
    }
    Ok(tag)
}

/// Every build of a program makes another image: those nothing uses are removed after some hours.
fn forget_old() {
    let label = format!("label={LABEL}");
    let pruned = docker::run(&[
        "image", "prune", "--all", "--force", "--filter", &label, "--filter", "until=6h",
    ]);
    if let Err(error) = pruned {
        eprintln!("old test images are left: {error}");
    }
}

fn lay_out(program: &Path, name: &str, tools: &[&str], root: &Path) -> Result<(), String> {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    put(program, &root.join(name))?;
    for tool in tools.iter().map(Path::new) {
        put(tool, &below(tool))?;
    }
    for program in [program].into_iter().chain(tools.iter().map(Path::new)) {
        for library in libraries(program)? {
            put(&library, &below(&library))?;
        }
    }
    let tmp = root.join("tmp");
    let sticky = fs::create_dir_all(&tmp)
        .and_then(|()| fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)));
    sticky.map_err(|e| format!("{}: {e}", tmp.display()))
}

fn put(from: &Path, to: &Path) -> Result<(), String> {
    let parent = to.parent().unwrap_or(Path::new("/"));
    let copied = fs::create_dir_all(parent).and_then(|()| fs::copy(from, to));
    copied
        .map(drop)
        .map_err(|e| format!("copy {} to {}: {e}", from.display(), to.display()))
}

/// Every shared library and the loader itself, at the paths the loader looks at.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, String> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .map_err(|e| format!("cannot run ldd: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = text.lines().find(|l| l.contains("not found")) {
        return Err(format!("{}: {}", program.display(), missing.trim()));
    }
    let paths = text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}

fn import(root: &Path, name: &str, tag: &str) -> Result<(), String> {
    let mut tar = Command::new("tar")
        .arg("-C")
        .arg(root)
        .args(["-c", "."])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run tar: {e}"))?;
    let stream = tar.stdout.take().ok_or("tar has no output")?;
    let entry = format!("ENTRYPOINT [\"/{name}\"]");
    let label = format!("LABEL {LABEL}=1");
    let output = Command::new("docker")
        .args(["import", "--change", &entry, "--change", &label, "-", tag])
        .stdin(stream)
        .output();
    let output = output.map_err(|e| format!("cannot run docker: {e}"))?;
    let packed = tar.wait().map_err(|e| e.to_string())?;
    match output.status.success() && packed.success() {
        true => Ok(()),
        false => Err(format!(
            "docker import {tag}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip::{skip, test_name};

    #[test]
    fn a_program_runs_in_an_image_of_its_own() {
        if let Some(reason) = docker::missing() {
            return skip(&test_name(), &reason);
        }
        let tag = of(Path::new("/bin/echo")).unwrap();
        assert_eq!(
            docker::run(&["run", "--rm", "--network", "none", &tag, "hello"]).unwrap(),
            "hello"
        );
        assert_eq!(of(Path::new("/bin/echo")).unwrap(), tag);
        docker::run(&["image", "rm", &tag]).unwrap();
    }
}
