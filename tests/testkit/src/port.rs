//! Ports from the operating system.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

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

/// A loopback port below those the system chooses from: no connection of anybody's gets it by chance before it is listened on.
///
/// # Panics
/// When there is none.
pub fn quiet_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mine = u16::try_from(std::process::id() % 1000).unwrap() * 8;
    let tried = (0..8000).map(|_| NEXT.fetch_add(1, Ordering::Relaxed));
    let mut ports = tried.map(|n| 10_000 + mine.wrapping_add(n) % 8000);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(free).unwrap()
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
