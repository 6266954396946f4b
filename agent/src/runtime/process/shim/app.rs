//! Starts the app itself, and says plainly why it could not.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hancock_agent_core::environment::StartSpec;

use crate::runtime::process::files::{Answer, Cgroup, Folder, Order};
use crate::runtime::process::limits;

pub(super) fn spawn(folder: &Folder, order: &Order) -> Result<Child, Answer> {
    let spec = &order.spec;
    let workdir = match &spec.workdir {
        Some(given) => PathBuf::from(given),
        None => folder.work(),
    };
    let mut command = command(spec, &workdir)?;
    if let Some(user) = &spec.user {
        let (uid, gid) = limits::account(user).map_err(permanent)?;
        command.uid(uid.as_raw()).gid(gid.as_raw());
        // Its own folder must be its own.
        let _ = chown(folder.work(), Some(uid.as_raw()), Some(gid.as_raw()));
    }
    // The app is born inside its groups: what it starts right away is limited as well.
    move_to(&order.cgroups, |g| &g.path);
    let spawned = command.spawn();
    move_to(&order.cgroups, |g| &g.home);
    spawned.map_err(|error| why(spec, &workdir, &error))
}

fn command(spec: &StartSpec, workdir: &Path) -> Result<Command, Answer> {
    let (program, args) = spec
        .command
        .split_first()
        .ok_or_else(|| permanent("the spec has no command".to_owned()))?;
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(workdir)
        .env_clear()
        .envs(&spec.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    Ok(command)
}

/// A limit that cannot be applied is no reason not to run.
pub(super) fn move_to(groups: &[Cgroup], place: impl Fn(&Cgroup) -> &PathBuf) {
    for group in groups {
        let file = place(group).join("cgroup.procs");
        if let Err(error) = fs::write(&file, "0") {
            eprintln!("shim: cannot write {}: {error}", file.display());
        }
    }
}

fn permanent(reason: String) -> Answer {
    Answer::NotStarted {
        permanent: true,
        reason,
    }
}

/// The system's "no such file" may mean three things.
fn why(spec: &StartSpec, workdir: &Path, error: &io::Error) -> Answer {
    let program = spec.command.first().map_or("", String::as_str);
    if !workdir.is_dir() {
        let workdir = workdir.display();
        return permanent(format!("working directory {workdir} does not exist"));
    }
    match error.kind() {
        io::ErrorKind::NotFound => permanent(not_found(spec, program, workdir)),
        io::ErrorKind::PermissionDenied => {
            permanent(format!("program {program:?} may not be executed: {error}"))
        }
        _ if error.raw_os_error() == Some(nix::libc::ENOEXEC) => {
            permanent(format!("{program:?} is not a program: {error}"))
        }
        _ => Answer::NotStarted {
            permanent: false,
            reason: format!("program {program:?} did not start: {error}"),
        },
    }
}

fn not_found(spec: &StartSpec, program: &str, workdir: &Path) -> String {
    if !program.contains('/') {
        let path = spec.environment.get("PATH").map_or("", String::as_str);
        return format!("program {program:?} is not in PATH ({path})");
    }
    let file = workdir.join(program);
    match fs::metadata(&file) {
        Ok(meta) if meta.permissions().mode() & 0o111 != 0 => {
            format!("the interpreter or loader that program {program:?} needs does not exist")
        }
        _ => format!(
            "program {program:?} does not exist (looked at {})",
            file.display()
        ),
    }
}
