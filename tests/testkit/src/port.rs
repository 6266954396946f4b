//! Ports from the operating system.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

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

/// Ports below those the system chooses from, in blocks that a process claims for as long as it lives.
const BLOCKS: u16 = 200;
const BLOCK: u16 = 100;
const FIRST: u16 = 12_000;

/// What this process has claimed.
struct Claimed {
    left: Range<u16>,
    /// Locked files, one for each block.
    held: Vec<File>,
}

static CLAIMED: Mutex<Claimed> = Mutex::new(Claimed {
    left: 0..0,
    held: Vec::new(),
});

/// A loopback port that no other test asks for, and no connection of anybody's gets by chance before it is listened on.
///
/// # Panics
/// When there is none.
pub fn quiet_port() -> u16 {
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    loop {
        if let Some(port) = claimed.left.by_ref().find(free) {
            return port;
        }
        claimed.claim();
    }
}

impl Claimed {
    /// Takes another block that no living process has.
    fn claim(&mut self) {
        let user = nix::unistd::getuid();
        let folder = std::env::temp_dir().join(format!("hancock-test-ports-{user}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mine = |block: u16| {
            let file = File::create(folder.join(block.to_string())).unwrap();
            file.try_lock().ok().map(|()| (block, file))
        };
        let found = (0..BLOCKS).find_map(mine);
        let (block, file) = found.expect("a block of ports nobody has claimed");
        self.left = FIRST + block * BLOCK..FIRST + (block + 1) * BLOCK;
        self.held.push(file);
    }
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

    #[test]
    fn quiet_ports_go_beyond_one_block() {
        let ports: std::collections::BTreeSet<_> = (0..2 * BLOCK).map(|_| quiet_port()).collect();
        assert_eq!(ports.len(), usize::from(2 * BLOCK));
        assert!(ports.iter().all(|port| *port < 32_768));
    }
}
