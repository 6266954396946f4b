//! Accepts connections of one port and hands each to a thread.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpListener;

use super::Doors;
use crate::tcp::relay;

/// After an accept failed for want of files or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// Connections accepted in a row before others of the thread get their turn.
const IN_A_ROW: u32 = 32;

/// Accepts until it is dropped.
pub(super) async fn run(doors: Arc<Doors>, listener: Arc<TcpListener>, port: u16) {
    // What comes before waits in the socket. It never fails: the sender is the doors' own.
    let _ = doors.begun.subscribe().wait_for(|begun| *begun).await;
    let name = port.to_string();
    let mut in_a_row = 0;
    loop {
        // Its thread may be another one, so it leaves this runtime.
        let accepted = listener.accept().await;
        match accepted.and_then(|(stream, client)| Ok((stream.into_std()?, client))) {
            Ok((stream, client)) => admit(&doors, &name, stream, client),
            Err(error) => pause(port, &error).await,
        }
        in_a_row += 1;
        if in_a_row > IN_A_ROW {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Hands over what the kernel has accepted already: it would be reset with the listener.
pub(super) fn drain(doors: &Arc<Doors>, listener: &TcpListener, port: u16) {
    let name = port.to_string();
    // By the socket itself: the runtime only accepts what it was told of.
    while let Ok((stream, client)) = SockRef::from(listener).accept() {
        if let (Ok(()), Some(client)) = (stream.set_nonblocking(true), client.as_socket()) {
            admit(doors, &name, stream.into(), client);
        }
    }
}

/// A connection nobody serves is closed here, by being dropped.
fn admit(doors: &Arc<Doors>, name: &str, stream: TcpStream, client: SocketAddr) {
    let service = doors.service(name);
    let room = doors.runners.sessions() < doors.options.max_sessions;
    let (Some(service), true) = (service, room) else {
        doors.turned_away.fetch_add(1, Ordering::Relaxed);
        return tracing::debug!(port = name, %client, room, "turned a connection away");
    };
    let session = relay::session(doors.clone(), service, stream, client);
    doors.runners.session(session);
}

async fn pause(port: u16, error: &io::Error) {
    match error.kind() {
        // The client's affair.
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
        // The port was closed; this task ends in a moment.
        io::ErrorKind::InvalidInput => tokio::time::sleep(PAUSE).await,
        _ => {
            tracing::warn!(port, %error, "cannot accept connections, trying again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
