//! Listening sockets with names, on their way from process to process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketName {
    /// End users' requests; there may be several of one port.
    Http,
    /// The management interface.
    Admin,
    /// The framed management protocol.
    StreamAdmin,
    /// A TCP service, by its port.
    Tcp(u16),
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("http"),
            Self::Admin => f.write_str("admin"),
            Self::StreamAdmin => f.write_str("stream-admin"),
            Self::Tcp(port) => write!(f, "tcp-{port}"),
        }
    }
}

impl FromStr for SocketName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "http" => Ok(Self::Http),
            "admin" => Ok(Self::Admin),
            "stream-admin" => Ok(Self::StreamAdmin),
            _ => {
                let port = text.strip_prefix("tcp-").and_then(|port| port.parse().ok());
                port.map(Self::Tcp)
                    .ok_or_else(|| format!("{text:?} names no socket of a balancer"))
            }
        }
    }
}

/// A socket that is listened on now; cheap to clone, and never a copy of the descriptor.
#[derive(Clone)]
pub struct Listening {
    /// What it is for.
    pub name: SocketName,
    socket: Arc<dyn AsFd + Send + Sync>,
}

impl Listening {
    pub(crate) fn new(name: SocketName, socket: Arc<dyn AsFd + Send + Sync>) -> Self {
        Self { name, socket }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// Sockets that another process opened. What nobody takes is closed with this.
#[derive(Debug, Default)]
pub struct Adopted {
    sockets: BTreeMap<SocketName, Vec<TcpListener>>,
    /// Names of which one was taken.
    taken: BTreeSet<SocketName>,
}

impl Adopted {
    /// One more.
    pub fn add(&mut self, name: SocketName, socket: OwnedFd) {
        self.sockets.entry(name).or_default().push(socket.into());
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sockets.values().map(Vec::len).sum()
    }

    /// The first one of a name, when it listens on `address` (port 0: on any port). Others of the name go, when it does not.
    pub fn take(&mut self, name: SocketName, address: SocketAddr) -> Option<TcpListener> {
        let fits = |listener: &TcpListener| {
            let at = listener.local_addr().ok();
            at.is_some_and(|at| at == address || (address.port() == 0 && at.ip() == address.ip()))
        };
        let mut found = self.sockets.remove(&name)?;
        found.retain(fits);
        if found.is_empty() {
            return None;
        }
        let first = found.remove(0);
        if !found.is_empty() {
            self.sockets.insert(name, found);
        }
        self.taken.insert(name);
        Some(first)
    }

    /// All that are left of a name. None: none of it was taken.
    pub(crate) fn rest(&mut self, name: SocketName) -> Option<Vec<TcpListener>> {
        let rest = self.sockets.remove(&name).unwrap_or_default();
        self.taken.contains(&name).then_some(rest)
    }

    /// Whether there is one of a name.
    pub fn has(&self, name: SocketName) -> bool {
        self.sockets.contains_key(&name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_read_back() {
        for name in [
            SocketName::Http,
            SocketName::Admin,
            SocketName::StreamAdmin,
            SocketName::Tcp(3306),
        ] {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert!(!name.to_string().contains(':'), "separates names elsewhere");
        }
        for bad in ["", "tcp-", "tcp-70000", "udp-1"] {
            assert!(bad.parse::<SocketName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_socket_is_taken_at_its_address_only() {
        let bound = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, other) = (bound(), bound());
        let address = one.local_addr().unwrap();
        let mut adopted = Adopted::default();
        adopted.add(SocketName::Http, other.into());
        adopted.add(SocketName::Http, one.try_clone().unwrap().into());
        adopted.add(SocketName::Http, one.into());
        let taken = adopted.take(SocketName::Http, address).unwrap();
        assert_eq!(taken.local_addr().unwrap(), address);
        assert_eq!(adopted.rest(SocketName::Http).unwrap().len(), 1);
        assert!(adopted.rest(SocketName::Admin).is_none());
        adopted.add(SocketName::Admin, taken.into());
        let any = "127.0.0.1:0".parse().unwrap();
        assert!(adopted.take(SocketName::Admin, any).is_some() && adopted.is_empty());
    }
}
