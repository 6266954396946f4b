//! Ports from the operating system.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// A loopback port nobody listens on at this moment.
///
/// # Panics
/// When the machine has none left.
pub fn free_port() -> u16 {
    free_ports::<1>()[0]
}

/// `N` different ones: all are held until the last is found.
///
/// # Panics
/// When the machine has none left.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    std::array::from_fn(|i| held[i].local_addr().unwrap().port())
}

/// The loopback address with `port`.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_free() {
        let ports = free_ports::<8>();
        let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), 8);
        TcpListener::bind(local(ports[0])).unwrap();
    }
}
