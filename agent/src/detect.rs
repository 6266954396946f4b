//! Finds out what this machine is and has, and what of it is free just now.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use hancock_proto::app::Resources;
use hancock_proto::ids::NodeId;
use hancock_proto::resources::{NodeInfo, Offer, PortRange};
use hancock_proto::units::{Cpu, Size};

/// Host ports to choose from, unless told otherwise: below what Linux gives to outgoing connections (32768 and up).
pub const DEFAULT_PORTS: PortRange = PortRange {
    first: 20000,
    last: 29999,
};

/// What the operator says instead of what would be detected.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The node's name. None: the host name.
    pub node: Option<NodeId>,
    /// Address other nodes reach this one at. None: 127.0.0.1, right for a single machine only.
    pub address: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Processor time to offer.
    pub cpu: Option<Cpu>,
    /// Memory to offer.
    pub memory: Option<Size>,
    /// Disk to offer.
    pub disk: Option<Size>,
    /// Host ports to choose from.
    pub ports: Option<PortRange>,
}

/// Why the machine could not be described.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The host name is no node name.
    #[error(
        "the host name is not usable as node name ({source}); give one with the node's own option"
    )]
    Name {
        /// What is wrong with it.
        source: hancock_proto::ids::InvalidName,
    },
    /// A range without ports.
    #[error("port range {first}-{last} is empty; write the lower port first")]
    Ports {
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
}

/// Describes the machine. `runtime`: kind and version, as "docker 20.10.24". Disk is what the file system of `data_dir` has free.
///
/// # Errors
/// A name or a range that cannot be used.
pub fn node_info(
    overrides: Overrides,
    runtime: &str,
    data_dir: &Path,
) -> Result<NodeInfo, DetectError> {
    let hostname = hostname();
    let node = match overrides.node {
        Some(node) => node,
        None => hostname
            .parse()
            .map_err(|source| DetectError::Name { source })?,
    };
    Ok(NodeInfo {
        node,
        hostname,
        address: overrides.address.unwrap_or_else(|| "127.0.0.1".to_owned()),
        labels: overrides.labels,
        capacity: Resources {
            cpu: overrides.cpu.unwrap_or_else(cpus),
            memory: overrides.memory.unwrap_or_else(|| memory("MemTotal:")),
            disk: overrides.disk.unwrap_or_else(|| disk_free(data_dir)),
        },
        ports: ports(overrides.ports)?,
        runtime: runtime.trim().to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

fn ports(wanted: Option<PortRange>) -> Result<PortRange, DetectError> {
    let range = wanted.unwrap_or(DEFAULT_PORTS);
    let (first, last) = (range.first, range.last);
    if first == 0 || first > last {
        return Err(DetectError::Ports { first, last });
    }
    if let Some(ephemeral) = ephemeral().filter(|e| e.first <= last && first <= e.last) {
        tracing::warn!(
            first,
            last,
            "host ports overlap those Linux gives to outgoing connections ({}-{}): an instance's port may be taken; change net.ipv4.ip_local_port_range or the node's range",
            ephemeral.first,
            ephemeral.last
        );
    }
    Ok(range)
}

fn ephemeral() -> Option<PortRange> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(PortRange {
        first: numbers.next()?.ok()?,
        last: numbers.next()?.ok()?,
    })
}

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

fn cpus() -> Cpu {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Cpu::millicores(u32::try_from(cores).unwrap_or(1).saturating_mul(1000))
}

/// A line of /proc/meminfo, in bytes; zero when there is none.
fn memory(line: &str) -> Size {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|l| l.strip_prefix(line))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Size::bytes(kib.unwrap_or_default().saturating_mul(1024))
}

fn disk_free(path: &Path) -> Size {
    // The folder may not exist yet: its nearest existing parent is on the same disk.
    let there = path.ancestors().find(|p| p.exists());
    let stat = there.and_then(|p| nix::sys::statvfs::statvfs(p).ok());
    Size::bytes(stat.map_or(0, |s| {
        s.blocks_available().saturating_mul(s.fragment_size())
    }))
}

/// What is free just now.
pub fn offer(info: &NodeInfo, data_dir: &Path) -> Offer {
    Offer {
        load: load(),
        memory_free: memory("MemAvailable:"),
        disk_free: disk_free(data_dir),
        ports_in_use: ports_in_use(info.ports),
        traffic: BTreeMap::new(),
    }
}

fn load() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// Ports of the range somebody listens on, over IPv4 or IPv6, on any address.
pub fn ports_in_use(range: PortRange) -> BTreeSet<u16> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| table.lines().filter_map(listening).collect::<Vec<_>>())
        .filter(|port| range.contains(*port))
        .collect()
}

/// The local port of a line of /proc/net/tcp, when its state is LISTEN (0A).
fn listening(line: &str) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    let port = local.rsplit_once(':')?.1;
    (state == "0A").then(|| u16::from_str_radix(port, 16).ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_machine_is_described() {
        let overrides = Overrides {
            node: Some("n1".parse().unwrap()),
            ..Overrides::default()
        };
        let info = node_info(overrides, "process ", Path::new("/nowhere/yet")).unwrap();
        assert!(info.capacity.memory.as_bytes() > 0 && info.capacity.disk.as_bytes() > 0);
        assert!(info.capacity.cpu.as_millicores() >= 1000);
        assert_eq!(
            (info.runtime.as_str(), info.ports),
            ("process", DEFAULT_PORTS)
        );
    }

    #[test]
    fn a_backward_range_is_refused() {
        let range = PortRange { first: 9, last: 3 };
        assert!(ports(Some(range)).unwrap_err().to_string().contains("9-3"));
    }

    #[test]
    fn listening_ports_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let range = PortRange {
            first: 1,
            last: u16::MAX,
        };
        assert!(ports_in_use(range).contains(&port));
    }
}
