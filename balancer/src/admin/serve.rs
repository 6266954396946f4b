//! Connections of the management interface: so many at most, and each head within its time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Admin, answer};

/// Connections at the same time; more are closed at once.
const CONNECTIONS: usize = 256;
/// For a head, from the moment it is waited for: a connection nobody uses ends as well.
const HEAD: Duration = Duration::from_secs(15);
/// After an accept failed for want of files or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers until told to stop, and what was asked until then.
pub(super) async fn serve(
    listener: TcpListener,
    admin: Arc<Admin>,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let stopped = stop.clone();
    loop {
        tokio::select! {
            () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    let Ok(place) = room.clone().try_acquire_owned() else {
                        tracing::warn!(%client, "too many connections of the management interface, closed one");
                        continue;
                    };
                    let talking = talk(stream, client, admin.clone(), stopped.clone());
                    connections.spawn(async move {
                        talking.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections of the management interface, trying again");
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection, to its end.
async fn talk(
    stream: TcpStream,
    client: SocketAddr,
    admin: Arc<Admin>,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(answer(&admin, client, request.map(Body::new)).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(stop.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%client, %error, "a connection of the management interface broke");
    }
}
