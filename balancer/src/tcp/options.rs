//! What the TCP side may open, and how patient it is.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Ports that are never opened.
const NEVER: [u16; 1] = [22];

/// What the TCP side needs to start.
#[derive(Debug, Clone)]
pub struct TcpOptions {
    /// Address the ports are opened on.
    pub bind: IpAddr,
    /// Ports a document may open.
    pub ports: RangeInclusive<u16>,
    /// Ports that stay open without a document; their connections are closed at once then.
    pub listen: BTreeSet<u16>,
    /// Ports of this process, which no document opens; those of the balancer's own listeners are added.
    pub reserved: BTreeSet<u16>,
    /// Time for one connection to a peer.
    pub connect_timeout: Duration,
    /// A session on which nothing moved for this long ends.
    pub idle_timeout: Duration,
    /// Sessions at the same time; more connections are closed at once.
    pub max_sessions: u64,
    /// Long flows go through the kernel's pipes rather than through this process's memory.
    pub splice: bool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ports: 1024..=65535,
            listen: BTreeSet::new(),
            reserved: BTreeSet::new(),
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(600),
            max_sessions: 100_000,
            splice: true,
        }
    }
}

impl TcpOptions {
    /// The port a service of this name is served on; None: the name is no port number, so nothing is opened for it.
    pub fn port_of(name: &str) -> Option<u16> {
        let digits = !name.starts_with('0') && name.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| name.parse().ok()).flatten()
    }

    /// Whether nobody may open this port: it is how a machine's people come in.
    pub fn is_never_opened(port: u16) -> bool {
        NEVER.contains(&port)
    }

    /// Whether a document may open this port.
    pub fn allows(&self, port: u16) -> bool {
        let ours = self.reserved.contains(&port) || Self::is_never_opened(port);
        !ours && (self.ports.contains(&port) || self.listen.contains(&port))
    }
}
