//! The Docker engine of this machine, through its command line client.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The engine's socket, as clients find it.
pub fn socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://")
        .map_or_else(|| PathBuf::from("/var/run/docker.sock"), PathBuf::from)
}

/// Runs `docker` with `args` and gives what it printed.
///
/// # Errors
/// What it printed instead, or that there is no such command.
pub fn run(args: &[&str]) -> Result<String, String> {
    let output = Command::new("docker")
        .args(args)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|e| format!("cannot run docker: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!(
            "docker {}: {}",
            args.join(" "),
            text(&output.stderr)
        )),
    }
}

/// Why no engine can be used here; None: one answers.
pub fn missing() -> Option<String> {
    run(&["version", "--format", "{{.Server.Version}}"]).err()
}

/// Ids of all containers, running or not, with a label `label` (a name, or name=value).
///
/// # Errors
/// As [`run`].
pub fn containers(label: &str) -> Result<Vec<String>, String> {
    let ids = run(&[
        "ps",
        "--all",
        "--quiet",
        "--no-trunc",
        "--filter",
        &format!("label={label}"),
    ])?;
    Ok(ids.lines().map(str::to_owned).collect())
}

/// One field of a container or image, in the client's template language.
///
/// # Errors
/// As [`run`].
pub fn inspect(id: &str, template: &str) -> Result<String, String> {
    run(&["inspect", "--format", template, id])
}

/// Gives `image` a child named `tag` that differs by one instruction of a Dockerfile.
///
/// # Errors
/// As [`run`].
pub fn derive(image: &str, change: &str, tag: &str) -> Result<(), String> {
    let container = run(&["create", image, "/none"])?;
    let committed = run(&["commit", "--change", change, &container, tag]);
    run(&["rm", &container])?;
    committed.map(drop)
}

/// Process id of a container's first process; None when it does not run.
pub fn pid(id: &str) -> Option<i32> {
    let pid = inspect(id, "{{.State.Pid}}").ok()?.parse().ok()?;
    (pid > 0).then_some(pid)
}

/// Removes every container with `label`, running or not; for cleaning up, so failures are told and not fatal.
pub fn remove_all(label: &str) {
    let removed = containers(label).and_then(|ids| {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        if ids.is_empty() {
            return Ok(String::new());
        }
        run(&[&["rm", "--force", "--volumes"], ids.as_slice()].concat())
    });
    if let Err(error) = removed {
        eprintln!("containers with label {label} may be left: {error}");
    }
}

/// Removes every named volume with `label`; as [`remove_all`].
pub fn remove_volumes(label: &str) {
    let filter = format!("label={label}");
    let named = run(&["volume", "ls", "--quiet", "--filter", &filter]);
    let removed = named.and_then(|names| match names.lines().collect::<Vec<_>>() {
        names if names.is_empty() => Ok(String::new()),
        names => run(&[&["volume", "rm"], names.as_slice()].concat()),
    });
    if let Err(error) = removed {
        eprintln!("volumes with label {label} may be left: {error}");
    }
}

/// Whether `path` can be connected to.
pub fn accepts(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}
