//! `container`: what is asked of a container engine. Everything the engine would only refuse at the start is refused here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::ports::Ports;
use super::reader::{Field, Section};
use super::words::hint;
use crate::app::{Container, Log, Network, Ulimit};

/// Capabilities of Linux, without `CAP_`.
const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
/// Limits of processes.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
/// Kernel settings that containers have of their own begin so.
const SYSCTLS: [&str; 5] = [
    "net.",
    "kernel.msg",
    "kernel.sem",
    "kernel.shm",
    "fs.mqueue.",
];
/// Largest limit written down: what JSON readers of any kind take unchanged.
const MOST: i64 = 1 << 53;

/// Reads `container`.
pub fn container(field: &Field<'_>, ports: &Ports) -> Container {
    let Some(mut section) = field.section() else {
        return Container::default();
    };
    let network = network(&section.field("network"), ports);
    let container = Container {
        hostname: hostname(&section.field("hostname"), &network),
        dns: addresses(&section.field("dns")),
        dns_search: names(&section.field("dns_search")),
        extra_hosts: extra_hosts(&section.field("extra_hosts")),
        cap_add: capabilities(&section.field("cap_add")),
        cap_drop: capabilities(&section.field("cap_drop")),
        privileged: section.field("privileged").flag().unwrap_or(false),
        read_only: section.field("read_only").flag().unwrap_or(false),
        init: section.field("init").flag().unwrap_or(false),
        sysctls: sysctls(&section.field("sysctls"), &network),
        ulimits: ulimits(&section.field("ulimits")),
        shm_size: section.field("shm_size").parsed(),
        log: log(&section.field("log")),
        network,
    };
    section.end();
    container
}

/// Ports have to be where the network lets them be.
fn network(field: &Field<'_>, ports: &Ports) -> Network {
    let network = field.word_text().map(Network::from).unwrap_or_default();
    if let Network::Named(name) = &network
        && !is_network(name)
    {
        field.problem(format!(
            "{name:?} is no network; there is bridge, host, none, or the name of one of the engine's own"
        ));
    }
    if network == Network::Nowhere && !ports.list.is_empty() {
        field.problem("without a network nobody reaches its ports; leave one of them out");
    }
    let moved = |port: &&crate::app::Port| port.container.is_some() && port.container != port.host;
    if network == Network::Host
        && let Some(port) = ports.list.iter().find(moved)
    {
        field.problem(format!(
            "in the node's network nothing leads from another port to port {:?}; leave its `container` out, and let the app listen on \
             {{{{ port.{} }}}}",
            port.name, port.name
        ));
    }
    network
}

fn is_network(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(inside)
}

fn hostname(field: &Field<'_>, network: &Network) -> Option<String> {
    let text = field.word_text()?;
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if text.len() > 63 || !text.chars().all(inside) {
        field.problem(format!("{text:?} is no host name"));
    }
    if *network == Network::Host {
        field.problem("in the node's network it has the node's host name");
    }
    Some(text)
}

fn addresses(field: &Field<'_>) -> Vec<IpAddr> {
    let items = field.items("[192.0.2.53]");
    items.iter().filter_map(|item| address(item)).collect()
}

fn address(field: &Field<'_>) -> Option<IpAddr> {
    let text = field.text()?;
    let wrong = || format!("{text:?} is no address; write it like 192.0.2.53");
    field.accept(text.parse().map_err(|_| wrong()))
}

fn names(field: &Field<'_>) -> Vec<String> {
    let items = field.items("[example.com]");
    items.iter().filter_map(Field::word_text).collect()
}

fn extra_hosts(field: &Field<'_>) -> BTreeMap<String, String> {
    let entries = field.entries().into_iter();
    let read = |(name, field): (&str, Field<'_>)| {
        let text = field.text()?;
        if text != "host-gateway" {
            address(&field)?;
        }
        if name.contains([':', '=']) || name.contains(char::is_whitespace) {
            field.problem("the name of a host has no colon, no \"=\" and no space");
        }
        Some((name.to_owned(), text.to_owned()))
    };
    entries.filter_map(read).collect()
}

fn capabilities(field: &Field<'_>) -> Vec<String> {
    let mut list = Vec::new();
    for item in field.items("[NET_ADMIN]") {
        let Some(text) = item.text() else { continue };
        let upper = text.to_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned();
        if !CAPABILITIES.contains(&name.as_str()) {
            let near = hint(&name, &CAPABILITIES);
            item.problem(format!("{text:?} is no capability; {near}"));
        } else if !list.contains(&name) {
            list.push(name);
        }
    }
    list
}

fn sysctls(field: &Field<'_>, network: &Network) -> BTreeMap<String, String> {
    for (name, entry) in field.entries_silently() {
        if !SYSCTLS.iter().any(|own| name.starts_with(own)) {
            entry.problem(
                "is the node's, containers have none of their own; set it on the node (they have net.*, kernel.msg*, kernel.sem, \
                 kernel.shm* and fs.mqueue.*)",
            );
        } else if *network == Network::Host && name.starts_with("net.") {
            entry.problem("in the node's network it is the node's; set it there");
        }
    }
    super::table(field)
}

fn ulimits(field: &Field<'_>) -> BTreeMap<String, Ulimit> {
    let mut all = BTreeMap::new();
    for (name, entry) in field.entries() {
        if !ULIMITS.contains(&name) {
            entry.problem(format!("is no limit; {}", hint(name, &ULIMITS)));
        }
        if let Some(limit) = ulimit(&entry) {
            all.insert(name.to_owned(), limit);
        }
    }
    all
}

/// A number for both, or each by itself.
fn ulimit(field: &Field<'_>) -> Option<Ulimit> {
    if !field.value().is_some_and(serde_json::Value::is_object) {
        let both = bound(field)?;
        let (soft, hard) = (both, both);
        return Some(Ulimit { soft, hard });
    }
    let mut section = field.section()?;
    let soft_field = section.field("soft").required("soft: 1024");
    let soft = bound(&soft_field);
    let hard = bound(&section.field("hard").required("hard: 4096"));
    section.end();
    let (soft, hard) = (soft?, hard?);
    if hard != -1 && (soft > hard || soft == -1) {
        soft_field.problem(format!("soft {soft} is more than hard {hard}"));
    }
    Some(Ulimit { soft, hard })
}

fn bound(field: &Field<'_>) -> Option<i64> {
    field.integer(-1..=MOST)
}

fn log(field: &Field<'_>) -> Option<Log> {
    let mut section: Section<'_> = field.section()?;
    let driver = section.field("driver").required("driver: json-file");
    let log = Log {
        driver: driver.word_text().unwrap_or_default(),
        options: super::table(&section.field("options")),
    };
    section.end();
    Some(log)
}
