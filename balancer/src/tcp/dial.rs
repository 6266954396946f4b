//! The way of a connection to a peer: picks until one answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::passive::Failure;
use hancock_balancer_core::peer::Ticket;
use hancock_balancer_core::pick::{self, Tried};
use hancock_balancer_core::retry;

use crate::chance::random;
use crate::control::now;
use crate::live::{LiveView, Service};
use crate::meter::count;

/// A connection to a peer, counted as a session on it until dropped. It holds no view: a session never pins one.
pub(super) struct Dialled {
    pub(super) stream: TcpStream,
    /// Counts for as long as it is held.
    pub(super) _ticket: Ticket,
    /// Tells the session to end.
    pub(super) ending: CancellationToken,
}

/// Connects to the peer that is picked, or to the next ones. None: nobody answered. The routing phase is this call.
pub(super) async fn dial(service: &Service, client: IpAddr, limit: Duration) -> Option<Dialled> {
    let phase = service.load();
    let client = client.to_canonical();
    let (first, mut made) = (now(), 0);
    let mut tried = Tried::default();
    loop {
        let key = key(client);
        let at = pick::pick(&phase.view, &key, &tried, now(), random())?;
        let entry = &phase.view.entries()[at];
        // Counted before anything is dialled.
        let mut ticket = Ticket::new(entry.peer.clone());
        made += 1;
        let began = phase.view.times_answers().then(Instant::now);
        let answer = attempt(&phase, at, limit).await;
        if let Some(began) = began {
            entry
                .peer
                .latency()
                .took(began.elapsed(), answer.is_ok(), now());
        }
        match answer {
            Ok(stream) => {
                entry.peer.record().connected(entry.limits);
                ticket.upgrade();
                return Some(Dialled {
                    stream,
                    _ticket: ticket,
                    ending: phase.dials[at].ending(),
                });
            }
            Err(failure) => {
                if blame(&phase, at, failure) {
                    count(&service.stats.bans);
                }
            }
        }
        tried.add(entry.peer.clone());
        if !retry::may_dial_again(made, first, now()) {
            return None;
        }
        service.stats.retries.fetch_add(1, Ordering::Relaxed);
    }
}

fn key(client: IpAddr) -> RequestKey<'static> {
    RequestKey {
        target: b"",
        client: Some(client),
        header: None,
    }
}

async fn attempt(phase: &LiveView, at: usize, limit: Duration) -> Result<TcpStream, Failure> {
    // A name that was not resolved yet.
    let address = phase.dials[at].address().ok_or(Failure::Unreachable)?;
    let connected = timeout(limit, connect(address)).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    connected.map_err(|error| {
        let peer = phase.view.entries()[at].peer.key();
        tracing::debug!(%peer, %error, "cannot connect to a peer");
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            _ => Failure::Unreachable,
        }
    })
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Answers whether it put a ban on the peer.
fn blame(phase: &LiveView, at: usize, failure: Failure) -> bool {
    let entry = &phase.view.entries()[at];
    let others = || pick::others_unbanned(&phase.view, &entry.peer);
    let record = entry.peer.record();
    record.failed(entry.limits, failure, others, now())
}
