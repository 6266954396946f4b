//! The listening sockets of the data-plane threads, and what connections inherit from them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const BACKLOG: i32 = 4096;
/// A connection that has not said anything for this long is accepted all the same; in seconds.
const SILENT: i32 = 1;

sockopt_impl!(
    /// Accept when there is something to read: a new connection and its request are one wake-up. In seconds, then it is accepted anyway.
    DeferAccept,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    i32
);

/// One socket per thread, the first of them bound by somebody else: a port in use was noticed there.
pub(super) fn for_threads(first: TcpListener, threads: usize) -> io::Result<Vec<TcpListener>> {
    let address = first.local_addr()?;
    // Set only now: binding with it would succeed beside another process of the same user.
    let spread = SockRef::from(&first).set_reuse_port(true);
    // Whoever bound it left room for 128: the rest of a crowd would come in seconds late.
    SockRef::from(&first).listen(BACKLOG)?;
    let mut all = vec![first];
    while all.len() < threads {
        let next = match &spread {
            Ok(()) => bind_again(address),
            Err(_) => all[0].try_clone(),
        };
        all.push(next?);
    }
    for listener in &all {
        listener.set_nonblocking(true)?;
        tune(listener);
    }
    Ok(all)
}

fn bind_again(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// HTTP clients speak first, so their connections need not be seen before they have. Failing costs time, nothing else.
fn tune(listener: &TcpListener) {
    let nodelay = SockRef::from(listener).set_tcp_nodelay(true);
    let deferred = setsockopt(listener, DeferAccept, &SILENT).map_err(io::Error::from);
    if let Err(error) = nodelay.and(deferred) {
        tracing::debug!(%error, "connections will cost more than they have to");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::Write;
    use std::net::TcpStream;
    use std::time::Duration;

    use hancock_testkit::wait::wait_for;

    #[test]
    fn threads_share_a_port_that_nobody_else_gets() {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let all = for_threads(first, 3).unwrap();
        let addresses = all.iter().map(|l| l.local_addr().unwrap());
        assert_eq!(addresses.collect::<Vec<_>>(), [address; 3]);
        assert!(TcpListener::bind(address).is_err());
        let mut clients = Vec::new();
        for _ in 0..64 {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"x").unwrap();
            clients.push(client);
        }
        let mut accepted = 0;
        wait_for("all clients", Duration::from_secs(60), || {
            for listener in &all {
                while let Ok((stream, _)) = listener.accept() {
                    assert!(stream.nodelay().unwrap());
                    accepted += 1;
                }
            }
            if accepted == clients.len() {
                Ok(())
            } else {
                Err(accepted)
            }
        });
    }
}
