//! Processes of containers as this machine sees them.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Kills a process and all that came from it. One that is not of this container, or is seen from another machine, is left alone.
pub(super) fn end_tree_in(pid: i32, container: &str) {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if container.is_empty() || !groups.contains(container) {
        tracing::debug!(pid, container, "a command was not found, and is left");
        return;
    }
    for pid in tree(pid) {
        // Gone meanwhile is fine.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Parents before their children.
fn tree(root: i32) -> Vec<i32> {
    let parents = parents();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        let children = parents.iter().filter(|(_, of)| **of == parent);
        tree.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

/// Every process's parent.
fn parents() -> BTreeMap<i32, i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; what follows the last bracket is regular.
    let after = stat.rsplit_once(')')?.1;
    after.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_this_process_and_not_its_parent() {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let above = parent(own).unwrap_or_default();
        assert!(tree(above).contains(&own));
        assert!(!tree(own).contains(&above));
    }
}
