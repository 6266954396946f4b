//! Data-plane threads: each has its own single-threaded runtime, its own accept loop and its own engine.
//!
//! Every thread listens with a socket of its own on the same port, and the kernel spreads connections.

mod limits;
mod sockets;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::access::Access;
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
    Running,
    /// No more connections; what is open may finish until then.
    Draining(Instant),
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
}

impl Listeners {
    /// Starts accepting on `listener` with `threads` threads.
    pub(crate) fn start(listener: TcpListener, threads: usize, served: Served) -> io::Result<Self> {
        let (stage, watched) = watch::channel(Stage::Running);
        let open = Arc::new(AtomicU64::new(0));
        let limits = Arc::new(Limits::default());
        let mut running = Vec::new();
        let listeners = sockets::for_threads(listener, threads.max(1))?;
        for (at, listener) in listeners.into_iter().enumerate() {
            let thread = Thread {
                served: served.clone(),
                limits: limits.clone(),
                open: open.clone(),
                stage: watched.clone(),
            };
            let builder = std::thread::Builder::new().name(format!("data-{at}"));
            running.push(builder.spawn(move || thread.run(listener))?);
        }
        Ok(Self {
            stage,
            threads: running,
            open,
        })
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> Arc<AtomicU64> {
        self.open.clone()
    }

    /// Stops accepting, lets what is open finish for at most `grace`, ends the threads.
    pub(crate) async fn shutdown(self, grace: Duration) {
        self.stage
            .send_replace(Stage::Draining(Instant::now() + grace));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                if thread.join().is_err() {
                    tracing::error!("a data-plane thread had panicked");
                }
            }
        });
        if joined.await.is_err() {
            tracing::error!("could not wait for the data-plane threads");
        }
    }
}

struct Thread {
    served: Served,
    limits: Arc<Limits>,
    open: Arc<AtomicU64>,
    stage: watch::Receiver<Stage>,
}

impl Thread {
    fn run(self, listener: TcpListener) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                return tracing::error!(%error, "cannot make a data-plane runtime; this thread serves nothing");
            }
        };
        runtime.block_on(self.serve(listener));
        // Whatever did not end in its time is dropped with the runtime.
    }

    async fn serve(mut self, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                return tracing::error!(%error, "cannot listen; this thread serves nothing");
            }
        };
        let engine = Engines::new(self.served.clone());
        let (drain, drained) = watch::channel(false);
        let mine = Arc::new(());
        let deadline = loop {
            let stage = async {
                self.stage
                    .changed()
                    .await
                    .map(|()| *self.stage.borrow_and_update())
            };
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.spawn(&engine, Accepted { stream, peer }, &drained, &mine),
                    Err(error) => pause(&error).await,
                },
                stage = stage => match stage {
                    Ok(Stage::Running) => {}
                    Ok(Stage::Draining(until)) => break until,
                    // The owner is gone without a word.
                    Err(_) => break Instant::now(),
                },
            }
        };
        drain.send_replace(true);
        // Connections the kernel has accepted already would be reset with the socket.
        while let Ok(Ok((stream, peer))) = timeout(Duration::ZERO, listener.accept()).await {
            self.spawn(&engine, Accepted { stream, peer }, &drained, &mine);
        }
        drop(listener);
        finish(&engine, &mine, deadline).await;
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

/// Waits for the connections of this thread; idle ones are closed after a last chance.
async fn finish(engine: &impl HttpEngine, mine: &Arc<()>, deadline: Instant) {
    let idle = deadline.min(Instant::now() + LAST_REQUEST);
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
