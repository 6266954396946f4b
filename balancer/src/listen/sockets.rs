//! The listening sockets of the data-plane threads, and what connections inherit from them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::handover::{Listening, SocketName};

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

/// Sockets, and which thread accepts from which.
pub(super) struct Shares {
    pub(super) sockets: Vec<Listening>,
    pub(super) threads: Vec<Vec<TcpListener>>,
}

/// One socket per thread, the first of them bound by somebody else: a port in use was noticed there. Where others were taken over from
/// another process none is added: should this process be given up yet, what waits in a new one would be lost.
pub(super) fn for_threads(
    first: TcpListener,
    adopted: Option<Vec<TcpListener>>,
    threads: usize,
) -> io::Result<Shares> {
    let all = match adopted {
        None => opened(first, threads)?,
        Some(others) => std::iter::once(first).chain(others).collect(),
    };
    let mut shares: Vec<Vec<TcpListener>> = Vec::new();
    shares.resize_with(threads, Vec::new);
    for at in 0..all.len().max(threads) {
        shares[at % threads].push(all[at % all.len()].try_clone()?);
    }
    for listener in &all {
        listener.set_nonblocking(true)?;
        tune(listener);
    }
    let named = |listener| Listening::new(SocketName::Http, Arc::new(listener));
    Ok(Shares {
        sockets: all.into_iter().map(named).collect(),
        threads: shares,
    })
}

fn opened(first: TcpListener, threads: usize) -> io::Result<Vec<TcpListener>> {
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
        let shares = for_threads(first, None, 3).unwrap();
        assert_eq!((shares.sockets.len(), shares.threads.len()), (3, 3));
        let all: Vec<TcpListener> = shares.threads.into_iter().flatten().collect();
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

    #[test]
    fn every_adopted_socket_is_accepted_from() {
        for (sockets, threads) in [(1, 2), (2, 2), (5, 2), (2, 5)] {
            let first = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut adopted = opened(first, sockets).unwrap();
            let first = adopted.remove(0);
            let address = first.local_addr().unwrap();
            let shares = for_threads(first, Some(adopted), threads).unwrap();
            assert_eq!(shares.sockets.len(), sockets, "none is added");
            let shared = shares.threads.iter().map(Vec::len);
            assert!(shared.clone().all(|n| n > 0), "{threads} threads");
            assert_eq!(shared.sum::<usize>(), sockets.max(threads));
            let all = shares.threads.iter().flatten();
            assert!(all.into_iter().all(|l| l.local_addr().unwrap() == address));
        }
    }
}
