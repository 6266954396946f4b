//! Control groups, where the machine lets us: memory as limit, processor time as share. Version 2 and version 1.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hancock_agent_core::environment::StartSpec;
use hancock_proto::app::{Limits, Resources};

use super::files::Cgroup;

const ROOT: &str = "/sys/fs/cgroup";

/// Folder of ours in every hierarchy.
const OURS: &str = "hancock";

/// Microseconds that limits of processor time are counted in.
const PERIOD: u64 = 100_000;

/// Creates the groups of one instance. Empty, with the reason in the log, where that is not possible: what is reserved helps, it is no
/// promise.
///
/// # Errors
/// Limits are named in the spec, and cannot be set here.
pub(super) fn create(folder: &Path, spec: &StartSpec) -> io::Result<Vec<Cgroup>> {
    match set(&name(folder), &spec.resources, &spec.limits) {
        Err(error) if spec.limits.is_default() => {
            tracing::debug!(folder = %folder.display(), %error, "limits not applied");
            Ok(Vec::new())
        }
        created => created,
    }
}

/// Gives the groups of an instance that runs other limits.
///
/// # Errors
/// It uses more than it should be given, or has no groups and limits are named; without any it goes on as it was started.
pub(super) fn change(folder: &Path, reserved: &Resources, limits: &Limits) -> io::Result<()> {
    let name = name(folder);
    let places = ["", "memory"].map(|h| Path::new(ROOT).join(h).join(OURS).join(&name));
    match places.iter().any(|place| place.is_dir()) {
        true => set(&name, reserved, limits).map(drop),
        false if limits.is_default() => Ok(()),
        false => Err(io::Error::other(
            "it was started without control groups; restart it where there are some",
        )),
    }
}

fn set(name: &str, reserved: &Resources, limits: &Limits) -> io::Result<Vec<Cgroup>> {
    match version() {
        Some(2) => unified(name, reserved, limits),
        Some(_) => separate(name, reserved, limits),
        None => Err(io::Error::other("no control groups here")),
    }
}

/// Removes them; they are empty once everything of the instance has ended.
pub(super) fn remove(folder: &Path) {
    let name = name(folder);
    let hierarchies = ["", "memory", "cpu", "pids"];
    for path in hierarchies.map(|h| Path::new(ROOT).join(h).join(OURS).join(&name)) {
        if path.is_dir()
            && let Err(error) = fs::remove_dir(&path)
        {
            tracing::debug!(path = %path.display(), %error, "control group not removed");
        }
    }
}

/// How often a process of these groups was ended for want of memory.
pub(super) fn memory_kills(groups: &[Cgroup]) -> u64 {
    let files = ["memory.events", "memory.oom_control"];
    let all = groups
        .iter()
        .flat_map(|g| files.iter().map(|f| g.path.join(f)));
    all.filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().filter_map(kills).collect::<Vec<_>>())
        .sum()
}

fn kills(line: &str) -> Option<u64> {
    line.strip_prefix("oom_kill ")?.trim().parse().ok()
}

fn version() -> Option<u8> {
    let controllers = fs::read_to_string(format!("{ROOT}/cgroup.controllers"));
    match controllers {
        Ok(list) if list.contains("memory") => Some(2),
        _ if Path::new(ROOT).join("memory").is_dir() => Some(1),
        _ => None,
    }
}

/// Unique on the machine, where several nodes may run: the instance and a checksum of its whole path.
fn name(folder: &Path) -> String {
    let instance = folder.file_name().unwrap_or_default().to_string_lossy();
    let sum = crc32fast::hash(folder.as_os_str().as_encoded_bytes());
    format!("{instance}-{sum:08x}")
}

fn unified(name: &str, reserved: &Resources, limits: &Limits) -> io::Result<Vec<Cgroup>> {
    let ours = Path::new(ROOT).join(OURS);
    let path = ours.join(name);
    fs::create_dir_all(&path)?;
    for parent in [Path::new(ROOT), &ours] {
        fs::write(parent.join("cgroup.subtree_control"), "+memory +cpu +pids")?;
    }
    let weight = 1 + (shares(reserved) - 2) * 9999 / 262_142;
    let none = || "max".to_owned();
    let memory = memory(reserved, limits).unwrap_or_else(none);
    fs::write(path.join("memory.max"), memory)?;
    fs::write(path.join("cpu.weight"), weight.to_string())?;
    let quota = quota(limits).unwrap_or_else(none);
    fs::write(path.join("cpu.max"), format!("{quota} {PERIOD}"))?;
    fs::write(path.join("pids.max"), pids(limits))?;
    let home = home("");
    Ok(vec![Cgroup { path, home }])
}

fn separate(name: &str, reserved: &Resources, limits: &Limits) -> io::Result<Vec<Cgroup>> {
    let group = |hierarchy: &str| {
        let path = Path::new(ROOT).join(hierarchy).join(OURS).join(name);
        fs::create_dir_all(&path).map(|()| Cgroup {
            path,
            home: home(hierarchy),
        })
    };
    let (memory, cpu, pids) = (group("memory")?, group("cpu")?, group("pids")?);
    let none = || "-1".to_owned();
    let bytes = self::memory(reserved, limits).unwrap_or_else(none);
    fs::write(memory.path.join("memory.limit_in_bytes"), bytes)?;
    fs::write(cpu.path.join("cpu.shares"), shares(reserved).to_string())?;
    fs::write(cpu.path.join("cpu.cfs_period_us"), PERIOD.to_string())?;
    let quota = quota(limits).unwrap_or_else(none);
    fs::write(cpu.path.join("cpu.cfs_quota_us"), quota)?;
    fs::write(pids.path.join("pids.max"), self::pids(limits))?;
    Ok(vec![memory, cpu, pids])
}

/// Processor time within a period. None: no limit.
fn quota(limits: &Limits) -> Option<String> {
    let limit = limits.cpu?;
    let quota = u64::from(limit.as_millicores()) * PERIOD / 1000;
    Some(quota.to_string())
}

fn pids(limits: &Limits) -> String {
    limits.pids.unwrap_or(Limits::PIDS).to_string()
}

/// None: no limit.
fn memory(reserved: &Resources, limits: &Limits) -> Option<String> {
    let limit = limits.memory.unwrap_or(reserved.memory);
    let bytes = Some(limit.as_bytes()).filter(|bytes| *bytes > 0);
    bytes.map(|bytes| bytes.to_string())
}

/// 1024 for a whole core. A share, not a cap: idle cores may be used.
fn shares(resources: &Resources) -> u64 {
    (u64::from(resources.cpu.as_millicores()) * 1024 / 1000).clamp(2, 262_144)
}

/// This daemon's own group in a hierarchy; the root where it cannot be told.
fn home(hierarchy: &str) -> PathBuf {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        names
            .split(',')
            .any(|n| n == hierarchy)
            .then(|| path.trim_start_matches('/').to_owned())
    });
    Path::new(ROOT)
        .join(hierarchy)
        .join(own.unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Where the machine has no groups, one without limits was started all the same: nothing is missed later.
    #[test]
    fn who_was_started_without_groups_gets_no_limits() {
        let (folder, reserved) = (Path::new("/no/such/web-1"), Resources::default());
        change(folder, &reserved, &Limits::default()).unwrap();
        let limits = Limits {
            pids: Some(9),
            ..Limits::default()
        };
        let error = change(folder, &reserved, &limits).unwrap_err();
        assert!(error.to_string().contains("without control groups"));
    }
}
