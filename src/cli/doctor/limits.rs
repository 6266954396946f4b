//! Limits of the kernel that many instances and connections run into.

use super::facts::Facts;
use super::finding::{Finding, Level, sysctl};

/// A setting that should not be lower, and how much of it is used.
struct Limit {
    check: &'static str,
    key: &'static str,
    least: u64,
    /// The setting that counts what is used.
    used: Option<&'static str>,
    why: &'static str,
}

const LIMITS: [Limit; 9] = [
    Limit {
        check: "connection tracking",
        key: "net.netfilter.nf_conntrack_max",
        least: 262_144,
        used: Some("net.netfilter.nf_conntrack_count"),
        why: "every connection takes an entry, closed ones for some time; when the table is full, new ones are dropped without a word",
    },
    Limit {
        check: "keys",
        key: "kernel.keys.root_maxkeys",
        least: 10_000,
        used: None,
        why: "every container takes a key of the kernel; without one it does not start (\"disk quota exceeded\")",
    },
    Limit {
        check: "bytes of keys",
        key: "kernel.keys.root_maxbytes",
        least: 250_000,
        used: None,
        why: "the keys of containers are counted in bytes, too",
    },
    Limit {
        check: "time-wait sockets",
        key: "net.ipv4.tcp_max_tw_buckets",
        least: 16_384,
        used: None,
        why: "beyond it closed connections are forgotten at once, and late packets of theirs can hurt new ones",
    },
    Limit {
        check: "accept queue",
        key: "net.core.somaxconn",
        least: 1024,
        used: None,
        why: "connections that come in a burst wait here; those that find it full wait a second or more for their next try",
    },
    Limit {
        check: "open files",
        key: "fs.file-max",
        least: 1_000_000,
        used: Some("fs.file-nr"),
        why: "every connection through the balancer takes two; when there are none left, nothing on the machine can open one",
    },
    Limit {
        check: "inotify instances",
        key: "fs.inotify.max_user_instances",
        least: 512,
        used: None,
        why: "programs in containers that watch files share them with all others of the same user",
    },
    Limit {
        check: "inotify watches",
        key: "fs.inotify.max_user_watches",
        least: 65_536,
        used: None,
        why: "programs in containers that watch files share them with all others of the same user",
    },
    Limit {
        check: "time-wait reuse",
        key: "net.ipv4.tcp_tw_reuse",
        least: 1,
        used: None,
        why: "a balancer opens connections to the same peers all the time; without it each closed one blocks a port for a minute",
    },
];

/// Files one process should be able to open.
const FILES: u64 = 65_536;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let limits = LIMITS.iter().map(|limit| one(facts, limit));
    limits.chain([root_keys(facts), files(facts)]).collect()
}

fn one(facts: &Facts, limit: &Limit) -> Finding {
    let Some(value) = facts.number(limit.key) else {
        return Finding::ok(limit.check, format!("the kernel has no {}", limit.key));
    };
    let used = limit.used.and_then(|key| facts.number(key));
    let found = match used {
        Some(used) => format!("{} = {value}, {used} used", limit.key),
        None => format!("{} = {value}", limit.key),
    };
    let finding = Finding::ok(limit.check, found);
    let full = used.is_some_and(|used| used >= value / 10 * 9);
    match () {
        () if full => {
            let enough = value.saturating_mul(2).max(limit.least);
            finding.bad(Level::Fail, limit.why, sysctl(limit.key, enough))
        }
        () if value < limit.least => {
            finding.bad(Level::Warn, limit.why, sysctl(limit.key, limit.least))
        }
        () => finding,
    }
}

/// Keys that root's containers hold, out of /proc/key-users: `0: usage keys/instantiated keys/max bytes/max`.
fn root_keys(facts: &Facts) -> Finding {
    const CHECK: &str = "keys in use";
    let line = facts
        .key_users
        .lines()
        .find_map(|line| line.trim().strip_prefix("0:"));
    let counts = line.map(|line| line.split_whitespace().skip(2).map_while(pair));
    let counts: Vec<(u64, u64)> = counts.into_iter().flatten().collect();
    let [(keys, most), (bytes, most_bytes)] = counts[..] else {
        return Finding::ok(CHECK, "none are counted");
    };
    let finding = Finding::ok(
        CHECK,
        format!("{keys} of {most}, {bytes} bytes of {most_bytes}"),
    );
    match keys >= most / 10 * 9 || bytes >= most_bytes / 10 * 9 {
        false => finding,
        true => finding.bad(
            Level::Fail,
            "the next containers do not start (\"disk quota exceeded\")",
            "printf 'kernel.keys.root_maxkeys = 1000000\\nkernel.keys.root_maxbytes = 25000000\\n' >> /etc/sysctl.d/90-hancock.conf && sysctl --system",
        ),
    }
}

/// `51/1000000`
fn pair(text: &str) -> Option<(u64, u64)> {
    let (used, most) = text.split_once('/')?;
    Some((used.parse().ok()?, most.parse().ok()?))
}

fn files(facts: &Facts) -> Finding {
    let (now, most) = facts.files;
    let finding = Finding::ok("open files of a process", format!("{now}, at most {most}"));
    match now < FILES {
        false => finding,
        true => finding.bad(
            Level::Warn,
            "every connection through the balancer takes two; this is what programs get that are started from here",
            match most < FILES {
                true => "run the agent by packaging/systemd/hancock-agent.service, which gives it 1048576".to_owned(),
                false => format!("run the agent by packaging/systemd/hancock-agent.service, or `ulimit -n {FILES}` before it"),
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::well;
    use super::*;

    fn with(key: &str, value: &str) -> Facts {
        let mut facts = well();
        facts.sysctls.insert(key.to_owned(), value.to_owned());
        facts
    }

    #[test]
    fn what_is_low_warns_and_what_is_full_fails() {
        for (key, value, level, fix) in [
            (
                "net.netfilter.nf_conntrack_max",
                "65536",
                Level::Warn,
                "nf_conntrack_max = 262144",
            ),
            (
                "net.netfilter.nf_conntrack_count",
                "250000",
                Level::Fail,
                "nf_conntrack_max = 524288",
            ),
            (
                "kernel.keys.root_maxkeys",
                "200",
                Level::Warn,
                "root_maxkeys = 10000",
            ),
            (
                "net.ipv4.tcp_tw_reuse",
                "0",
                Level::Warn,
                "tcp_tw_reuse = 1",
            ),
            (
                "net.ipv4.tcp_max_tw_buckets",
                "4096",
                Level::Warn,
                "tcp_max_tw_buckets = 16384",
            ),
            ("net.core.somaxconn", "128", Level::Warn, "somaxconn = 1024"),
            (
                "fs.file-max",
                "100000",
                Level::Warn,
                "fs.file-max = 1000000",
            ),
            (
                "fs.file-nr",
                "9223372036854775807",
                Level::Fail,
                "fs.file-max",
            ),
            (
                "fs.inotify.max_user_instances",
                "128",
                Level::Warn,
                "max_user_instances = 512",
            ),
            (
                "fs.inotify.max_user_watches",
                "8192",
                Level::Warn,
                "max_user_watches = 65536",
            ),
        ] {
            let found = check(&with(key, value));
            let bad: Vec<_> = found.iter().filter(|f| f.level != Level::Ok).collect();
            assert_eq!(bad.len(), 1, "{key}: {bad:?}");
            assert_eq!(bad[0].level, level, "{key}");
            let told = bad[0].fix.clone().unwrap_or_default();
            assert!(told.contains(fix), "{key}: {told}");
        }
    }

    #[test]
    fn keys_and_files_are_counted() {
        let full = Facts {
            key_users: "    0:  191 190/190 190/200 90/20000\n".to_owned(),
            ..well()
        };
        assert_eq!(root_keys(&full).level, Level::Fail);
        let few = Facts {
            files: (1024, 524_288),
            ..well()
        };
        assert_eq!(files(&few).level, Level::Warn);
    }
}
