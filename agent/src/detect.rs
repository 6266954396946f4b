//! Finds out what this machine is and has, and what of it is free just now.

pub mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use hancock_proto::app::{PortProtocol, Resources};
use hancock_proto::assignment::PortBinding;
use hancock_proto::ids::NodeId;
use hancock_proto::ports::{PortRange, PortSet};
use hancock_proto::resources::{NodeInfo, Offer, Uplink};
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
    /// Addresses of clients' lines.
    pub addresses: Vec<Uplink>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Processor time there is.
    pub cpu: Option<Cpu>,
    /// Memory there is.
    pub memory: Option<Size>,
    /// Disk there is.
    pub disk: Option<Size>,
    /// How many times the processor time there is may be reserved. None: once.
    pub overcommit: Option<f64>,
    /// Of all that, what instances do not get.
    pub reserved: Reserved,
    /// Host ports to choose from. None: [`DEFAULT_PORTS`].
    pub ports: Option<PortSet>,
}

/// What is kept for the system and others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reserved {
    /// Processor time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Size,
    /// Disk.
    pub disk: Size,
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
    /// More is kept than there is.
    #[error(
        "{kept} {what} are kept from instances and the machine has {there}; keep less with reserve-{what}"
    )]
    Reserved {
        /// cpu or memory.
        what: &'static str,
        /// Kept.
        kept: String,
        /// There.
        there: String,
    },
}

/// Describes the machine. `runtime`: kind and version, as "docker 20.10.24". Disk is what the file system of `data_dir` has free.
///
/// # Errors
/// The host name cannot be used, or more is kept than there is.
pub fn node_info(
    overrides: Overrides,
    runtime: &str,
    data_dir: &Path,
) -> Result<NodeInfo, DetectError> {
    let hostname = hostname();
    let node = match overrides.node.clone() {
        Some(node) => node,
        None => hostname
            .parse()
            .map_err(|source| DetectError::Name { source })?,
    };
    Ok(NodeInfo {
        node,
        hostname,
        address: overrides
            .address
            .clone()
            .unwrap_or_else(|| "127.0.0.1".to_owned()),
        addresses: overrides.addresses.clone(),
        labels: overrides.labels.clone(),
        capacity: capacity(&overrides, data_dir)?,
        ports: ports(overrides.ports),
        runtime: runtime.trim().to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        kernel: kernel(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// What instances may reserve: what is there, less what is kept, processor time so many times as it may be promised.
fn capacity(given: &Overrides, data_dir: &Path) -> Result<Resources, DetectError> {
    let (there, kept) = (
        Resources {
            cpu: given.cpu.unwrap_or_else(cpus),
            memory: given.memory.unwrap_or_else(memory_there),
            disk: given.disk.unwrap_or_else(|| disk_free(data_dir)),
        },
        given.reserved,
    );
    let too_much = |what, kept: String, there: String| DetectError::Reserved { what, kept, there };
    if kept.cpu > there.cpu {
        return Err(too_much("cpu", kept.cpu.to_string(), there.cpu.to_string()));
    }
    if kept.memory > there.memory {
        let (kept, there) = (kept.memory.to_string(), there.memory.to_string());
        return Err(too_much("memory", kept, there));
    }
    let cpu = f64::from(there.cpu.as_millicores() - kept.cpu.as_millicores()) / 1000.0;
    let left =
        |there: Size, kept: Size| Size::bytes(there.as_bytes().saturating_sub(kept.as_bytes()));
    Ok(Resources {
        cpu: Cpu::try_from(cpu * given.overcommit.unwrap_or(1.0)).unwrap_or(there.cpu),
        memory: left(there.memory, kept.memory),
        // Free disk shrinks while the node is used: less than what is kept means none, and is no reason not to start.
        disk: left(there.disk, kept.disk),
    })
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release
        .map(|release| release.trim().to_owned())
        .unwrap_or_default()
}

fn ports(wanted: Option<PortSet>) -> PortSet {
    let ports = wanted.unwrap_or_else(|| DEFAULT_PORTS.into());
    if let Some(ephemeral) = ephemeral() {
        let both = ports.within(ephemeral);
        if !both.is_empty() {
            tracing::warn!(
                ports = both.brief(),
                "host ports overlap those Linux gives to outgoing connections ({ephemeral}): an instance's port may be taken; `hancock doctor` tells how to change that",
            );
        }
    }
    ports
}

fn ephemeral() -> Option<PortRange> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    outgoing_ports(&text)
}

/// The ports Linux gives to outgoing connections, as `net.ipv4.ip_local_port_range` says them.
pub fn outgoing_ports(text: &str) -> Option<PortRange> {
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

/// Processor time of all cores.
pub fn cpus() -> Cpu {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Cpu::millicores(u32::try_from(cores).unwrap_or(1).saturating_mul(1000))
}

/// Memory of the machine.
pub(crate) fn memory_there() -> Size {
    memory("MemTotal:")
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

/// Percent of the disk of `path` that are used, as those see it who are not root; None: that cannot be said.
pub fn disk_used(path: &Path) -> Option<u8> {
    let there = path.ancestors().find(|p| p.exists())?;
    let stat = nix::sys::statvfs::statvfs(there).ok()?;
    let used = stat.blocks().saturating_sub(stat.blocks_free());
    let all = used.saturating_add(stat.blocks_available());
    let percent = used.saturating_mul(100).checked_div(all)?;
    u8::try_from(percent).ok()
}

/// What is free just now; processor time and what the network carries need two looks, see [`Processor`] and [`network::Meter`].
pub fn offer(info: &NodeInfo, data_dir: &Path) -> Offer {
    Offer {
        load: load(),
        cpu_free: None,
        network: None,
        memory_free: memory("MemAvailable:"),
        disk_free: disk_free(data_dir),
        ports_in_use: ports_in_use(&info.ports),
        traffic: BTreeMap::new(),
    }
}

/// Measures how much processor time nobody uses.
#[derive(Debug, Default)]
pub struct Processor {
    /// Time of all cores, and of that idle, at the last look.
    last: Option<(u64, u64)>,
}

impl Processor {
    /// Free since the last look; None: this is the first one, or too soon.
    pub fn free(&mut self) -> Option<Cpu> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        self.free_of(&text, cpus())
    }

    fn free_of(&mut self, stat: &str, cores: Cpu) -> Option<Cpu> {
        let now = times(stat)?;
        let (all, idle) = self.last.replace(now)?;
        let (all, idle) = (now.0.checked_sub(all)?, now.1.saturating_sub(idle));
        let free = u64::from(cores.as_millicores()).checked_mul(idle.min(all))?;
        u32::try_from(free.checked_div(all)?)
            .ok()
            .map(Cpu::millicores)
    }
}

/// The first line of /proc/stat: time of all cores, and of that idle or waiting for disks.
fn times(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // Guests' time, from the ninth on, is part of the first ones.
    let parts: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map_while(|part| part.parse().ok())
        .collect();
    let idle = parts.get(3)?.saturating_add(*parts.get(4)?);
    Some((parts.iter().sum(), idle))
}

fn load() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// Which of the ports somebody listens on, over IPv4 or IPv6, on any address.
fn ports_in_use(of: &PortSet) -> BTreeSet<u16> {
    let all = open(PortProtocol::Tcp).into_iter();
    all.filter(|port| of.contains(*port)).collect()
}

/// Whether a program of the node has one of the host ports.
pub fn is_any_in_use(binding: &PortBinding) -> bool {
    let all = open(binding.protocol);
    binding.hosts().any(|port| all.contains(&port))
}

/// Ports that somebody listens on.
fn open(protocol: PortProtocol) -> BTreeSet<u16> {
    // TCP: LISTEN. UDP has no such state; a socket that waits for anybody is "closed".
    let (tables, state) = match protocol {
        PortProtocol::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
        PortProtocol::Udp => (["/proc/net/udp", "/proc/net/udp6"], "07"),
    };
    let tables = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    let ports = tables.flat_map(|table| {
        let ports = table.lines().filter_map(|line| listening(line, state));
        ports.collect::<Vec<_>>()
    });
    ports.collect()
}

/// The local port of a line of such a table, when it is in this state.
fn listening(line: &str, wanted: &str) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    let port = local.rsplit_once(':')?.1;
    (state == wanted).then(|| u16::from_str_radix(port, 16).ok())?
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
            ("process", DEFAULT_PORTS.into())
        );
    }

    #[test]
    fn what_is_kept_and_promised_is_counted() {
        let mut given = Overrides {
            cpu: Some(Cpu::millicores(4000)),
            memory: Some(Size::mib(1024)),
            disk: Some(Size::mib(10)),
            overcommit: Some(1.5),
            reserved: Reserved {
                cpu: Cpu::millicores(1000),
                memory: Size::mib(24),
                disk: Size::mib(20),
            },
            ..Overrides::default()
        };
        let left = capacity(&given, Path::new("/")).unwrap();
        assert_eq!(left.cpu, Cpu::millicores(4500));
        assert_eq!((left.memory, left.disk), (Size::mib(1000), Size::bytes(0)));
        given.reserved.memory = Size::mib(2000);
        let error = capacity(&given, Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("reserve-memory"), "{error}");
    }

    #[test]
    fn idle_time_is_what_is_free() {
        let mut processor = Processor::default();
        let cores = Cpu::millicores(2000);
        assert_eq!(
            processor.free_of("cpu  10 0 10 70 10 0 0 0 5 5\n", cores),
            None
        );
        let half = processor.free_of("cpu  60 0 10 110 20 0 0 0 9 9\n", cores);
        assert_eq!(half, Some(Cpu::millicores(1000)));
        assert_eq!(processor.free_of("nonsense", cores), None);
    }

    #[test]
    fn listening_ports_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = PortRange {
            first: port,
            last: port,
        };
        let all = PortRange {
            first: 1,
            last: u16::MAX,
        };
        let all = PortSet::from(all);
        assert!(ports_in_use(&all).contains(&port));
        assert!(!ports_in_use(&all.without(this)).contains(&port));
    }
}
