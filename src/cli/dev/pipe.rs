//! The network between this process's agent and its master: real gRPC over in-memory streams, so that one process runs the same code
//! as many machines do.

use std::io;

use hancock_wire::hub_server::{Hub, HubServer};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Server};

/// Bytes on their way in each direction before the writer waits.
const BUFFER: usize = 64 * 1024;

/// Connections waiting to be accepted.
const BACKLOG: usize = 16;

/// Serves `hub` until `stop`, and gives the channel that reaches it.
pub fn serve<H: Hub>(hub: HubServer<H>, stop: CancellationToken) -> Channel {
    let (dial, accept) = mpsc::channel::<DuplexStream>(BACKLOG);
    let incoming = ReceiverStream::new(accept).map(Ok::<_, io::Error>);
    tokio::spawn(async move {
        let served = Server::builder()
            .add_service(hub)
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "hub ended");
        }
    });
    channel(dial)
}

fn channel(dial: mpsc::Sender<DuplexStream>) -> Channel {
    let connector = tower::service_fn(move |_| {
        let dial = dial.clone();
        async move {
            let (near, far) = tokio::io::duplex(BUFFER);
            dial.send(far).await.map_err(|_| {
                io::Error::new(
                    io::ErrorKind::ConnectionRefused,
                    "the master of this process has stopped",
                )
            })?;
            Ok::<_, io::Error>(TokioIo::new(near))
        }
    });
    // The address is never resolved: the connector ignores it.
    Endpoint::from_static("http://hub.in-process").connect_with_connector_lazy(connector)
}
