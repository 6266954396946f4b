//! The Docker engine.

use hancock_agent::runtime::docker::About;

use super::facts::Facts;
use super::finding::{Finding, Level};

/// Oldest version that is tried (API 1.41).
const OLDEST: (u32, u32) = (20, 10);
/// Where the engine keeps its settings, and how to change one without stopping containers.
const SETTINGS: &str = "/etc/docker/daemon.json";

pub fn check(facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "engine";
    match &facts.engine {
        None => vec![Finding::ok(CHECK, "not needed: instances are plain processes")],
        Some(Err(reason)) => vec![Finding::ok(CHECK, reason).bad(
            Level::Fail,
            "with the runtime docker nothing can be run here",
            "apt-get install -y docker.io && systemctl enable --now docker; or write runtime = \"process\" into the agent's configuration",
        )],
        Some(Ok(about)) => {
            let mut found = vec![version(about), live_restore(about), storage(about), logs(about)];
            found.extend(about.warnings.iter().map(|told| warned(told)));
            found
        }
    }
}

fn version(about: &About) -> Finding {
    let finding = Finding::ok("engine", format!("Docker {}", about.version));
    let mut numbers = about.version.split('.').map(|n| n.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version >= OLDEST {
        true => finding,
        false => finding.bad(
            Level::Warn,
            "Hancock is tried with Docker 20.10 and newer",
            "apt-get install -y docker.io, from Debian 11 or newer",
        ),
    }
}

fn live_restore(about: &About) -> Finding {
    const CHECK: &str = "live-restore";
    match about.live_restore {
        true => Finding::ok(CHECK, "on: containers outlive the engine"),
        false => Finding::ok(CHECK, "off").bad(
            Level::Warn,
            "a restart of the engine, an upgrade for example, stops every container of this machine",
            setting("\"live-restore\": true", true),
        ),
    }
}

fn storage(about: &About) -> Finding {
    let finding = Finding::ok("storage driver", &about.storage_driver);
    match about.storage_driver.as_str() {
        "overlay2" | "overlayfs" | "btrfs" | "zfs" => finding,
        _ => finding.bad(
            Level::Warn,
            "it copies or locks more than overlay2 does: starts are slow and disks full early; images and containers there are not carried over",
            setting("\"storage-driver\": \"overlay2\"", false),
        ),
    }
}

/// Instances get a log of their own; this is for other containers.
fn logs(about: &About) -> Finding {
    let found = format!(
        "{}, instances have json-file with rotation",
        about.logging_driver
    );
    Finding::ok("log driver", found)
}

fn warned(told: &str) -> Finding {
    let told = told.trim_start_matches("WARNING: ");
    Finding::ok("engine", format!("it says: {told}")).bad(
        Level::Warn,
        "the engine itself warns of it",
        "see `docker info`, at its end",
    )
}

/// How to set something in the engine's own file, which may have other settings.
fn setting(line: &str, reload: bool) -> String {
    let then = if reload { "reload" } else { "restart" };
    format!(
        "put {line} into the object in {SETTINGS} ({{}} when there is none), then `systemctl {then} docker`"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::facts::well;
    use super::*;

    fn judged(change: impl FnOnce(&mut About)) -> Vec<Finding> {
        let mut about = well().engine.unwrap().unwrap();
        change(&mut about);
        let facts = Facts {
            engine: Some(Ok(about)),
            ..well()
        };
        let bad = check(&facts).into_iter().filter(|f| f.level != Level::Ok);
        bad.collect()
    }

    #[test]
    fn what_the_engine_says_is_judged() {
        assert!(judged(|_| {}).is_empty());
        for version in ["29.1.3", "20.10.0", "28.0.0-rc.1"] {
            assert!(
                judged(|about| about.version = version.to_owned()).is_empty(),
                "{version}"
            );
        }
        for (check, found) in [
            (
                "engine",
                judged(|about| about.version = "19.03.8".to_owned()),
            ),
            ("live-restore", judged(|about| about.live_restore = false)),
            (
                "storage driver",
                judged(|about| about.storage_driver = "vfs".to_owned()),
            ),
            (
                "engine",
                judged(|about| about.warnings = vec!["WARNING: No swap".to_owned()]),
            ),
        ] {
            assert_eq!(found.len(), 1, "{check}: {found:?}");
            assert_eq!(
                (found[0].check.as_str(), found[0].level),
                (check, Level::Warn)
            );
        }
    }

    #[test]
    fn an_engine_is_needed_only_by_containers() {
        let away = Facts {
            engine: Some(Err("cannot reach the engine".to_owned())),
            ..well()
        };
        assert_eq!(check(&away)[0].level, Level::Fail);
        let plain = Facts {
            engine: None,
            ..well()
        };
        assert_eq!(check(&plain)[0].level, Level::Ok);
    }
}
