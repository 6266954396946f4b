//! What was found out about the machine, as plain data: a test writes it down, [`super::read`] reads it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hancock_agent::runtime::docker::About;
use hancock_proto::ports::PortSet;

use super::finding::{Finding, Level};

/// Everything the checks look at.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The agent's configuration: its file's name, and what is wrong with it. None: none was named.
    pub config: Option<(String, Result<(), String>)>,
    /// Whether instances run in Docker.
    pub docker: bool,
    /// What the engine says of itself. None: it was not asked.
    pub engine: Option<Result<About, String>>,
    /// Settings of the kernel by name, as they are written; those it does not have are missing.
    pub sysctls: BTreeMap<String, String>,
    /// /proc/key-users.
    pub key_users: String,
    /// Controllers of the control groups. None: none are mounted.
    pub cgroups: Option<Cgroups>,
    /// Files a process may have open: now, and when it asks for more.
    pub files: (u64, u64),
    /// Host ports that instances get.
    pub ports: PortSet,
    /// What the agent listens on: option, address.
    pub listens: Vec<(&'static str, SocketAddr)>,
    /// Who listens on this machine.
    pub listeners: Vec<Listener>,
    /// Whether ports below `net.ipv4.ip_unprivileged_port_start` may be opened.
    pub privileged: bool,
    /// File systems: what for, and what is free there.
    pub rooms: Vec<(&'static str, Room)>,
    /// Milliseconds the master's clock is ahead of ours, give or take a second; or why it was not compared.
    pub skew: Skew,
}

/// The clock of a master beside ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skew {
    /// No master was named.
    NotAsked,
    /// It does not answer.
    Unknown(String),
    /// So many milliseconds ahead.
    Ahead(i64),
}

/// Control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// 1 or 2.
    pub version: u8,
    /// Those that are there and enabled.
    pub controllers: Vec<String>,
}

/// A port somebody listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub at: SocketAddr,
    /// Process id and name; None: not to be seen from here.
    pub by: Option<(u32, String)>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The folder it was looked at through.
    pub path: String,
    /// Bytes there are, and are free.
    pub bytes: (u64, u64),
    /// Files there may be, and may yet be made; zero: it does not count them.
    pub files: (u64, u64),
}

impl Facts {
    /// A setting of the kernel as a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        let text = self.sysctls.get(key)?;
        text.split_whitespace().next()?.parse().ok()
    }

    pub(super) fn config(&self) -> Finding {
        const CHECK: &str = "configuration";
        match &self.config {
            None => Finding::ok(
                CHECK,
                "none named, the usual ports and folders are looked at; name the agent's with --config FILE",
            ),
            Some((file, Ok(()))) => Finding::ok(CHECK, format!("{file} is understood")),
            Some((file, Err(problem))) => Finding::ok(CHECK, problem).bad(
                Level::Fail,
                "the agent does not start with it",
                format!("mend {file}; `hancock agent --help` names every key"),
            ),
        }
    }
}

/// A machine on which all is well.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub fn well() -> Facts {
    let room = Room {
        path: "/var/lib/hancock".to_owned(),
        bytes: (100 << 30, 60 << 30),
        files: (1_000_000, 900_000),
    };
    let sysctls = [
        ("fs.file-max", "9223372036854775807"),
        ("fs.file-nr", "1184\t0\t9223372036854775807"),
        ("fs.inotify.max_user_instances", "8192"),
        ("fs.inotify.max_user_watches", "524288"),
        ("kernel.keys.root_maxbytes", "25000000"),
        ("kernel.keys.root_maxkeys", "1000000"),
        ("net.bridge.bridge-nf-call-iptables", "1"),
        ("net.core.somaxconn", "4096"),
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.ip_local_port_range", "32768\t60999"),
        ("net.ipv4.ip_unprivileged_port_start", "1024"),
        ("net.ipv4.tcp_max_tw_buckets", "262144"),
        ("net.ipv4.tcp_tw_reuse", "1"),
        ("net.netfilter.nf_conntrack_count", "12"),
        ("net.netfilter.nf_conntrack_max", "262144"),
    ];
    Facts {
        config: None,
        docker: true,
        engine: Some(Ok(About {
            version: "20.10.24".to_owned(),
            storage_driver: "overlay2".to_owned(),
            logging_driver: "json-file".to_owned(),
            live_restore: true,
            root_dir: "/var/lib/docker".to_owned(),
            warnings: Vec::new(),
        })),
        sysctls: sysctls.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        key_users: "    0:    57 56/56 51/1000000 1093/25000000\n".to_owned(),
        cgroups: Some(Cgroups {
            version: 2,
            controllers: ["cpuset", "cpu", "io", "memory", "pids"]
                .map(str::to_owned)
                .into(),
        }),
        files: (1_048_576, 1_048_576),
        ports: hancock_agent::detect::DEFAULT_PORTS.into(),
        listens: vec![("http", "0.0.0.0:80".parse().unwrap())],
        listeners: Vec::new(),
        privileged: true,
        rooms: vec![("data directory", room)],
        skew: Skew::Ahead(0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings;
    use super::*;

    #[test]
    fn nothing_is_wrong_with_a_machine_that_is_well() {
        let wrong = |f: &Finding| f.level != Level::Ok || f.why.is_some() || f.fix.is_some();
        let wrong: Vec<_> = findings(&well()).into_iter().filter(wrong).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn whatever_is_not_well_says_why_and_what_to_do() {
        let nothing = Facts {
            config: Some(("a.toml".to_owned(), Err("a.toml: x".to_owned()))),
            engine: Some(Err("no socket".to_owned())),
            sysctls: BTreeMap::new(),
            key_users: String::new(),
            cgroups: None,
            files: (0, 0),
            rooms: Vec::new(),
            skew: Skew::Unknown("away".to_owned()),
            ..well()
        };
        let found = findings(&nothing);
        assert!(found.iter().any(|f| f.level == Level::Fail));
        for finding in found {
            let bad = finding.level != Level::Ok;
            assert_eq!(
                bad,
                finding.why.is_some() && finding.fix.is_some(),
                "{finding:?}"
            );
        }
    }
}
