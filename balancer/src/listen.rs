//! Data-plane threads: each has its own single-threaded runtime, its own accept loop and its own engine.
//!
//! Every thread listens with a socket of its own on the same port, and the kernel spreads connections. Sockets that were taken over from
//! another process are shared out among the threads: each of them has connections waiting in it, so none may be left alone.

mod limits;
mod sockets;

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::access::Access;
use crate::handover::Listening;
use crate::http::{Accepted, Engine, Engines, HttpEngine};
use crate::live::Table;
use crate::meter::count;
use limits::Limits;

/// After an accept failed for want of files or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// While draining: between looks at what is still open.
const LOOK: Duration = Duration::from_millis(10);
/// While draining: idle connections are given this long for a last request, whose answer tells them to close.
const LAST_REQUEST: Duration = Duration::from_millis(250);

/// Where a thread is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Connections wait in the sockets.
    Waiting,
    Running,
    /// No more connections; what is open may finish until then.
    Draining(Instant),
    /// The same sockets are held elsewhere. Idle connections stay until `idle`, when no request is answered on them before.
    Leaving {
        idle: Instant,
        until: Instant,
    },
}

/// What connections are served with.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) table: Arc<Table>,
    pub(crate) access: Arc<Access>,
    pub(crate) engine: Engine,
}

/// The running threads.
pub(crate) struct Listeners {
    stage: watch::Sender<Stage>,
    threads: Vec<JoinHandle<()>>,
    open: Arc<AtomicU64>,
    sockets: Vec<Listening>,
}

impl Listeners {
    /// Makes everything ready to accept on `listener` with `threads` threads; on `adopted` ones of the same port, too.
    pub(crate) fn start(
        listener: TcpListener,
        adopted: Option<Vec<TcpListener>>,
        threads: usize,
        served: Served,
    ) -> io::Result<Self> {
        let (stage, watched) = watch::channel(Stage::Waiting);
        let open = Arc::new(AtomicU64::new(0));
        let limits = Arc::new(Limits::default());
        let mut running = Vec::new();
        let shares = sockets::for_threads(listener, adopted, threads.max(1))?;
        let sockets = shares.sockets;
        for (at, listeners) in shares.threads.into_iter().enumerate() {
            let thread = Thread {
                served: served.clone(),
                limits: limits.clone(),
                open: open.clone(),
                stage: watched.clone(),
            };
            let builder = std::thread::Builder::new().name(format!("data-{at}"));
            running.push(builder.spawn(move || thread.run(listeners))?);
        }
        Ok(Self {
            stage,
            threads: running,
            open,
            sockets,
        })
    }

    /// Connections are accepted from now on.
    pub(crate) fn begin(&self) {
        self.stage.send_replace(Stage::Running);
    }

    /// What is listened on.
    pub(crate) fn sockets(&self) -> &[Listening] {
        &self.sockets
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> Arc<AtomicU64> {
        self.open.clone()
    }

    /// Stops accepting, lets what is open finish for at most `grace`, ends the threads.
    pub(crate) async fn shutdown(self, grace: Duration) {
        drop(self.sockets);
        self.stage
            .send_replace(Stage::Draining(Instant::now() + grace));
        join(self.threads).await;
    }

    /// Leaves the sockets to whoever else holds them, lets what is open finish for at most `grace`, and connections be idle for at most
    /// `idle`, ends the threads.
    pub(crate) async fn leave(self, grace: Duration, idle: Duration) {
        drop(self.sockets);
        let now = Instant::now();
        let (idle, until) = (now + idle, now + grace);
        self.stage.send_replace(Stage::Leaving { idle, until });
        join(self.threads).await;
    }
}

async fn join(threads: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a data-plane thread had panicked");
            }
        }
    });
    if joined.await.is_err() {
        tracing::error!("could not wait for the data-plane threads");
    }
}

struct Thread {
    served: Served,
    limits: Arc<Limits>,
    open: Arc<AtomicU64>,
    stage: watch::Receiver<Stage>,
}

impl Thread {
    fn run(self, listeners: Vec<TcpListener>) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                return tracing::error!(%error, "cannot make a data-plane runtime; this thread serves nothing");
            }
        };
        runtime.block_on(self.serve(listeners));
        // Whatever did not end in its time is dropped with the runtime.
    }

    async fn serve(mut self, listeners: Vec<TcpListener>) {
        let listeners = listeners.into_iter().map(tokio::net::TcpListener::from_std);
        let listeners = match listeners.collect() {
            Ok(all) => Share { all, first: 0 },
            Err(error) => {
                return tracing::error!(%error, "cannot listen; this thread serves nothing");
            }
        };
        self.accept_from(listeners).await;
    }

    async fn accept_from(&mut self, mut listeners: Share) {
        let engine = Engines::new(self.served.clone());
        let (drain, drained) = watch::channel(false);
        let mine = Arc::new(());
        let mut running = false;
        let (deadline, leaves) = loop {
            let stage = async {
                self.stage
                    .changed()
                    .await
                    .map(|()| *self.stage.borrow_and_update())
            };
            tokio::select! {
                accepted = listeners.accept(), if running => match accepted {
                    Ok((stream, peer)) => self.spawn(&engine, Accepted { stream, peer }, &drained, &mine),
                    Err(error) => pause(&error).await,
                },
                stage = stage => match stage {
                    Ok(Stage::Waiting) => {}
                    Ok(Stage::Running) => running = true,
                    Ok(Stage::Draining(until)) => break (until, None),
                    Ok(Stage::Leaving { idle, until }) => break (until, Some(idle)),
                    // The owner is gone without a word.
                    Err(_) => break (Instant::now(), None),
                },
            }
        };
        drain.send_replace(true);
        // Connections the kernel has accepted already would be reset with the socket, unless others have it, too.
        while leaves.is_none()
            && let Ok(Ok((stream, peer))) = timeout(Duration::ZERO, listeners.accept()).await
        {
            self.spawn(&engine, Accepted { stream, peer }, &drained, &mine);
        }
        drop(listeners);
        let idle = leaves.unwrap_or_else(|| Instant::now() + LAST_REQUEST);
        finish(&engine, &mine, idle, deadline).await;
    }

    fn spawn(
        &self,
        engine: &impl HttpEngine,
        accepted: Accepted,
        drain: &watch::Receiver<bool>,
        mine: &Arc<()>,
    ) {
        let meter = &self.served.table.meter;
        let admitted = match self.limits.admit(accepted.peer.ip()) {
            Ok(admitted) => admitted,
            Err(why) => {
                meter.turned_away(why);
                return tracing::debug!(peer = %accepted.peer, "too many connections, closed one more");
            }
        };
        count(&meter.accepted);
        let serving = engine.serve(accepted, drain.clone());
        let counted = Counted::new(self.open.clone());
        let mine = mine.clone();
        tokio::spawn(async move {
            serving.await;
            drop((counted, admitted, mine));
        });
    }
}

/// The sockets one thread accepts from.
struct Share {
    all: Vec<tokio::net::TcpListener>,
    /// Whose turn it is.
    first: usize,
}

impl Share {
    /// Safe to drop and call again.
    async fn accept(&mut self) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
        poll_fn(|context| {
            let count = self.all.len();
            for turn in 0..count {
                let at = (self.first + turn) % count;
                if let Poll::Ready(accepted) = self.all[at].poll_accept(context) {
                    self.first = at + 1;
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Waits for the connections of this thread; those that are idle at `idle` are closed.
async fn finish(engine: &impl HttpEngine, mine: &Arc<()>, idle: Instant, deadline: Instant) {
    let mut closed = false;
    while Arc::strong_count(mine) > 1 && Instant::now() < deadline {
        if !closed && Instant::now() >= idle {
            engine.close_idle().await;
            closed = true;
        }
        sleep(LOOK).await;
    }
    let left = Arc::strong_count(mine) - 1;
    if left > 0 {
        tracing::warn!(
            connections = left,
            "closing connections that did not finish in their time"
        );
    }
}

async fn pause(error: &io::Error) {
    match error.kind() {
        // The client's affair.
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
        _ => {
            tracing::warn!(%error, "cannot accept connections, trying again");
            sleep(PAUSE).await;
        }
    }
}

/// Counts one open connection.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(open: Arc<AtomicU64>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
