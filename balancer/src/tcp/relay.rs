//! One session: a peer is found, then bytes go both ways until both have ended, one breaks, or nothing moves.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::dial::dial;
use super::doors::Doors;
use super::stats::Counters;
use super::way::{Broken, Pace, Way};
use crate::farewell::{reset, see_off};
use crate::live::Service;

/// A peer that takes nothing more may still be answering: it has this long.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Looks per idle limit.
const LOOKS: u32 = 4;

/// Serves one accepted connection to its end.
pub(super) async fn session(
    doors: Arc<Doors>,
    service: Arc<Service>,
    stream: net::TcpStream,
    client: SocketAddr,
) {
    if let Err(error) = serve(&doors, &service, stream, client).await {
        tracing::debug!(port = %service.name, %client, %error, "cannot serve a connection");
    }
}

async fn serve(
    doors: &Doors,
    service: &Service,
    stream: net::TcpStream,
    client: SocketAddr,
) -> io::Result<()> {
    let mut stream = TcpStream::from_std(stream)?;
    let options = &doors.options;
    let counters = &service.stats.tcp;
    let Some(mut dialled) = dial(service, client.ip(), options.connect_timeout).await else {
        counters.unserved.fetch_add(1, Ordering::Relaxed);
        // A plain end would read as an empty answer.
        reset(&stream);
        return Ok(());
    };
    counters.sessions.fetch_add(1, Ordering::Relaxed);
    let relayed = Relayed {
        counters,
        idle: options.idle_timeout,
        splice: options.splice,
    };
    let (client, peer) = (&mut stream, &mut dialled.stream);
    tokio::select! {
        () = relayed.run(client, peer) => return Ok(()),
        () = dialled.ending.cancelled() => {}
    }
    counters.expired.fetch_add(1, Ordering::Relaxed);
    tokio::join!(see_off(&mut stream), see_off(&mut dialled.stream));
    Ok(())
}

struct Relayed<'a> {
    counters: &'a Counters,
    idle: Duration,
    splice: bool,
}

impl Relayed<'_> {
    async fn run(&self, client: &mut TcpStream, peer: &mut TcpStream) {
        let moved = AtomicU64::new(0);
        let (mut up_done, mut down_done) = (false, false);
        let answered = Notify::new();
        {
            let ((from_client, to_client), (from_peer, to_peer)) = (client.split(), peer.split());
            let way = |from, to, total| Way {
                from,
                to,
                moved: &moved,
                total,
                spliced: &self.counters.spliced,
                pace: Pace::new(self.splice),
            };
            let mut up = way(from_client, to_peer, &self.counters.up);
            let mut down = way(from_peer, to_client, &self.counters.down);
            let up = async {
                let ended = up.run().await;
                up_done = ended.is_ok();
                if let Err(Broken::Writing(_)) = &ended {
                    // Running out of it changes nothing: the session ends either way.
                    let _ = timeout(LAST_WORDS, answered.notified()).await;
                }
                ended
            };
            let down = async {
                let ended = down.run().await;
                down_done = ended.is_ok();
                answered.notify_one();
                ended
            };
            tokio::select! {
                ended = async { tokio::try_join!(up, down) } => self.tell(ended.err()),
                () = idle(&moved, self.idle) => {
                    self.counters.idle.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        // Whoever was not told the end must not take a broken stream for a whole one.
        if !down_done {
            reset(client);
        }
        if !up_done {
            reset(peer);
        }
    }

    fn tell(&self, broken: Option<Broken>) {
        if let Some(broken) = broken {
            tracing::debug!(%broken, "a TCP session broke off");
            self.counters.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Ends when nothing has moved for `limit`, or a quarter more.
async fn idle(moved: &AtomicU64, limit: Duration) {
    let (mut seen, mut quiet) = (0, 0);
    while quiet < LOOKS {
        sleep(limit / LOOKS).await;
        let now = moved.load(Ordering::Relaxed);
        quiet = if now == seen { quiet + 1 } else { 0 };
        seen = now;
    }
}
