//! The framed management protocol of the TCP side: a line, a length and a body in; a length, a code and a text out; as many as one likes.
//!
//! It knows no passwords: clients from other machines may look, but not change.

mod commands;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use hancock_balancer_core::framed::{Decoder, Item, Reply};

use crate::control::Control;

/// Connections at the same time; more are closed at once.
const CONNECTIONS: usize = 64;
/// Between two commands.
const IDLE: Duration = Duration::from_secs(300);
/// For the body of a command, from its line to its last byte, and for one reply.
const PATIENCE: Duration = Duration::from_secs(30);
/// After an accept failed for want of files or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// The running server.
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers on `listener` from now on.
    pub(crate) fn start(listener: TcpListener, control: Arc<Control>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, control, stopped));
        Ok(Self { stop, task })
    }

    /// Stops answering.
    pub(crate) async fn shutdown(self, grace: Duration) {
        self.stop.send_replace(true);
        let end = self.task.abort_handle();
        if timeout(grace, self.task).await.is_err() {
            end.abort();
        }
    }
}

async fn serve(
    listener: tokio::net::TcpListener,
    control: Arc<Control>,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    let Ok(place) = room.clone().try_acquire_owned() else {
                        tracing::warn!(%client, "too many connections of the framed management protocol, closed one");
                        continue;
                    };
                    let (control, stop) = (control.clone(), stop.clone());
                    connections.spawn(async move {
                        if let Err(error) = talk(stream, client, &control, stop).await {
                            tracing::debug!(%client, %error, "a connection of the framed management protocol broke");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections of the framed management protocol, trying again");
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection, to its end: the client's, or that of the command under way when all are to stop.
async fn talk(
    mut stream: TcpStream,
    client: SocketAddr,
    control: &Control,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut decoder, mut arrived) = (Decoder::default(), BytesMut::new());
    while let Some(item) = next(&mut stream, &mut decoder, &mut arrived, &mut stop).await? {
        let (reply, goes_on) = match item {
            Item::Command(command, body) => {
                (commands::carry_out(&command, control, client, &body), true)
            }
            Item::Refused(words) => (Reply::Error(words.to_owned()), true),
            Item::Last(words) => (Reply::Error(words.to_owned()), false),
            Item::Close => return Ok(()),
        };
        in_time(PATIENCE, stream.write_all(&reply.encode())).await?;
        if !goes_on {
            break;
        }
    }
    in_time(PATIENCE, stream.shutdown()).await
}

/// None: the client is done, or hung up within a line; or all are to stop, and it has begun nothing.
async fn next(
    stream: &mut TcpStream,
    decoder: &mut Decoder,
    arrived: &mut BytesMut,
    stop: &mut watch::Receiver<bool>,
) -> io::Result<Option<Item>> {
    let mut until = Instant::now() + IDLE;
    let mut in_body = false;
    loop {
        if let Some((item, taken)) = decoder.next(arrived) {
            arrived.advance(taken);
            return Ok(Some(item));
        }
        if decoder.awaits_body() && !in_body {
            (in_body, until) = (true, Instant::now() + PATIENCE);
        }
        let between = arrived.is_empty() && !in_body;
        let read = tokio::select! {
            biased;
            read = timeout_at(until, stream.read_buf(arrived)) => read,
            () = async { drop(stop.wait_for(|stop| *stop).await) }, if between => return Ok(None),
        };
        match read {
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(Ok(0)) if in_body => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Ok(0)) => return Ok(None),
            Ok(read) => drop(read?),
        }
    }
}

async fn in_time<T>(limit: Duration, deed: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = timeout(limit, deed).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
