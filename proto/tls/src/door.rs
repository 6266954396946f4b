//! A door of a master: takes connections, shakes hands, and knows of each who called.
//!
//! Handshakes run beside each other, a bounded number of them, each with a deadline: who does not finish one keeps nobody else out.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::ClusterId;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use crate::{Conn, Name, Party, plain};

/// Longest a caller may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at a time.
const MOST: usize = 1024;
/// Connections that may wait to be taken.
const QUEUE: usize = 16;
/// Time to wait when no connection can be taken, because files or memory have run out.
const PAUSE: Duration = Duration::from_millis(50);
/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 22;
/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Where from; None: the connection is gone.
    pub address: Option<SocketAddr>,
    /// Whom its certificate names, which the cluster's authority has signed; None: it showed none.
    pub name: Option<Name>,
}

impl Caller {
    /// The caller of an accepted connection.
    pub fn of(conn: &Conn) -> Self {
        Self {
            address: conn.tcp().peer_addr().ok(),
            name: conn.certificate().and_then(Name::of),
        }
    }
}

impl tonic::transport::server::Connected for Conn {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller::of(self)
    }
}

/// An open door; closed when dropped.
#[derive(Debug)]
pub struct Door {
    taken: mpsc::Receiver<io::Result<Conn>>,
    address: SocketAddr,
}

/// How hands are shaken.
#[derive(Clone)]
struct Manners {
    acceptor: TlsAcceptor,
    cluster: ClusterId,
}

impl Door {
    /// Takes connections of `listener`; encrypted ones of `party`'s cluster, or plain ones when that is None. Must be called within a
    /// runtime.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn open(
        listener: TcpListener,
        party: Option<&Party>,
        protocols: &[&str],
    ) -> io::Result<Self> {
        let manners = party.map(|party| Manners {
            acceptor: TlsAcceptor::from(party.server(protocols)),
            cluster: party.name().cluster.clone(),
        });
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let (out, taken) = mpsc::channel(QUEUE);
        tokio::spawn(take(listener, manners, out));
        Ok(Self { taken, address })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next caller's connection.
    pub async fn accept(&mut self) -> Conn {
        loop {
            match self.taken.recv().await {
                Some(Ok(conn)) => return conn,
                Some(Err(_)) => {}
                // The task lives as long as this receiver, or the runtime has ended.
                None => std::future::pending().await,
            }
        }
    }

    /// All connections, for a gRPC server.
    pub fn incoming(self) -> ReceiverStream<io::Result<Conn>> {
        ReceiverStream::new(self.taken)
    }
}

async fn take(
    listener: tokio::net::TcpListener,
    manners: Option<Manners>,
    out: mpsc::Sender<io::Result<Conn>>,
) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = out.closed() => return,
        };
        let Ok((tcp, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (manners, out) = (manners.clone(), out.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, greet(tcp, manners)).await {
                // The door may be closed by now.
                Ok(Ok(conn)) => drop(out.send(Ok(conn)).await),
                Ok(Err(error)) => tracing::debug!(%error, "a caller was refused"),
                Err(_elapsed) => tracing::debug!("a caller did not finish the handshake"),
            }
            // Held until here: neither handshakes nor connections that wait to be taken are without bound.
            drop(place);
        });
    }
}

async fn greet(tcp: TcpStream, manners: Option<Manners>) -> io::Result<Conn> {
    tcp.set_nodelay(true)?;
    let Some(manners) = manners else {
        return Ok(Conn::Plain(tcp));
    };
    let mut first = [0];
    if tcp.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
        plain::refuse(tcp).await?;
        return Err(io::Error::other("it speaks no TLS"));
    }
    let tls = manners.acceptor.accept(tcp).await?;
    let conn = Conn::Tls(Box::new(tls.into()));
    // The authority signs no other names; should it ever, nobody is let in nameless.
    let ours = |name: Name| name.cluster == manners.cluster;
    let known = |shown| Name::of(shown).is_some_and(ours);
    match conn.certificate().is_none_or(known) {
        true => Ok(conn),
        false => Err(io::Error::other(
            "the certificate names nobody of this cluster",
        )),
    }
}
