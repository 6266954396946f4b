//! What a spec may ask of plain processes; checked before anything is started.

use std::str::FromStr;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User};

use hancock_agent_core::environment::StartSpec;
use hancock_proto::app::needs;

use super::RuntimeError;

/// Refuses what can never work here, naming the way out.
pub(super) fn check(spec: &StartSpec) -> Result<(), RuntimeError> {
    let refuse = |reason: String| RuntimeError::impossible("start", &spec.instance, reason);
    if spec.command.is_empty() {
        return Err(RuntimeError::elsewhere(
            "start",
            &spec.instance,
            "the spec has no command, and this node runs plain processes; give a command, or place the app on nodes with a container engine",
        ));
    }
    let reuse = spec.reuse.then_some("task.reuse");
    let engine = || needs::engine(&spec.container, &spec.limits, &spec.volumes);
    if let Some(wanted) = reuse.or_else(engine) {
        return Err(RuntimeError::elsewhere(
            "start",
            &spec.instance,
            format!(
                "this node runs plain processes, which have no {wanted}; leave it out, or place the app on nodes with a container engine"
            ),
        ));
    }
    signal(&spec.stop.signal)
        .ok_or_else(|| refuse(format!("{:?} is not a signal", spec.stop.signal)))?;
    if let Some(volume) = spec.volumes.iter().find(|v| v.source != v.target) {
        return Err(refuse(format!(
            "a plain process sees {} only under its own name, not as {}; use the same path for both, or a container engine",
            volume.source, volume.target
        )));
    }
    match &spec.user {
        Some(user) => account(user).map(drop).map_err(refuse),
        None => Ok(()),
    }
}

/// "SIGTERM" or "TERM".
pub(super) fn signal(name: &str) -> Option<Signal> {
    let upper = name.to_ascii_uppercase();
    Signal::from_str(&upper)
        .or_else(|_| Signal::from_str(&format!("SIG{upper}")))
        .ok()
}

/// "name", "uid" or "uid:gid".
pub(super) fn account(user: &str) -> Result<(Uid, Gid), String> {
    let account = match user.split_once(':') {
        Some((uid, gid)) => numbers(uid, gid).ok_or_else(|| {
            format!("user {user:?} is neither a name nor numbers, like \"1000:1000\"")
        })?,
        None => known(user)?,
    };
    let (own, wanted) = (Uid::current(), account.0);
    if !own.is_root() && own != wanted {
        return Err(format!(
            "only root may run it as user {user:?}; this daemon runs as uid {own}"
        ));
    }
    Ok(account)
}

fn numbers(uid: &str, gid: &str) -> Option<(Uid, Gid)> {
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    Some((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn known(user: &str) -> Result<(Uid, Gid), String> {
    let found = match user.parse() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(user),
    };
    match found {
        Ok(Some(found)) => Ok((found.uid, found.gid)),
        Ok(None) => Err(format!(
            "user {user:?} does not exist on this machine; create it or write \"uid:gid\""
        )),
        Err(error) => Err(format!("user {user:?} cannot be looked up: {error}")),
    }
}
