//! Control groups: what an engine limits containers with.

use super::facts::Facts;
use super::finding::{Finding, Level};

const CHECK: &str = "control groups";
/// What a container's limits need.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];

pub fn check(facts: &Facts) -> Option<Finding> {
    let Some(groups) = &facts.cgroups else {
        let found = Finding::ok(CHECK, "none are mounted");
        return Some(match facts.docker {
            false => found,
            true => found.bad(
                Level::Fail,
                "the engine starts no container without them",
                "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            ),
        });
    };
    let missing = |name: &&str| !groups.controllers.iter().any(|there| there == name);
    let missing: Vec<&str> = NEEDED.into_iter().filter(missing).collect();
    let found = format!(
        "version {}: {}",
        groups.version,
        groups.controllers.join(" ")
    );
    let finding = Finding::ok(CHECK, found);
    if missing.is_empty() || !facts.docker {
        return Some(finding);
    }
    let missing_words = missing.join(" and ");
    let fix = match groups.version {
        2 => {
            let all: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
            format!(
                "echo '{}' > /sys/fs/cgroup/cgroup.subtree_control",
                all.join(" ")
            )
        }
        _ => format!(
            "start the kernel with cgroup_enable={} (in GRUB_CMDLINE_LINUX of /etc/default/grub, then `update-grub` and reboot)",
            missing.join(" cgroup_enable=")
        ),
    };
    Some(finding.bad(
        Level::Fail,
        format!("without {missing_words} what a spec says of resources is not enforced, or the container does not start"),
        fix,
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::facts::{Cgroups, well};
    use super::*;

    fn judged(docker: bool, version: u8, controllers: &[&str]) -> Finding {
        let controllers = controllers.iter().map(|&c| c.to_owned()).collect();
        let facts = Facts {
            docker,
            cgroups: Some(Cgroups {
                version,
                controllers,
            }),
            ..well()
        };
        check(&facts).unwrap()
    }

    #[test]
    fn what_a_container_needs_is_there_or_told() {
        assert_eq!(judged(true, 1, &["cpu", "memory", "pids"]).level, Level::Ok);
        assert_eq!(
            judged(false, 2, &["cpu"]).level,
            Level::Ok,
            "plain processes"
        );
        let two = judged(true, 2, &["cpu", "io"]);
        assert_eq!(two.level, Level::Fail);
        assert!(two.fix.unwrap().contains("'+memory +pids'"));
        let one = judged(true, 1, &["cpu", "pids"]);
        assert!(one.fix.unwrap().contains("cgroup_enable=memory"));
        let none = Facts {
            cgroups: None,
            ..well()
        };
        assert_eq!(check(&none).unwrap().level, Level::Fail);
    }
}
