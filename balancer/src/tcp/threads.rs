//! The threads of the TCP side: each has its own single-threaded runtime. A connection stays on the thread it was given to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

/// While draining: between looks at what is still open.
const LOOK: Duration = Duration::from_millis(10);

/// The running threads.
pub(crate) struct Threads {
    stop: watch::Sender<Option<Instant>>,
    threads: Vec<JoinHandle<()>>,
}

/// Where work is given to threads.
pub(crate) struct Runners(Vec<Runner>);

struct Runner {
    handle: Handle,
    sessions: Arc<AtomicU64>,
}

impl Threads {
    /// Starts `count` threads, at least one.
    pub(crate) fn start(count: usize) -> io::Result<(Self, Runners)> {
        let (stop, stopped) = watch::channel(None);
        let mut running = Self {
            stop,
            threads: Vec::new(),
        };
        let mut runners = Vec::new();
        for at in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let sessions = Arc::<AtomicU64>::default();
            runners.push(Runner {
                handle: runtime.handle().clone(),
                sessions: sessions.clone(),
            });
            let stopped = stopped.clone();
            let thread = std::thread::Builder::new().name(format!("tcp-{at}"));
            running
                .threads
                .push(thread.spawn(move || run(&runtime, stopped, &sessions))?);
        }
        Ok((running, Runners(runners)))
    }

    /// Lets sessions go on for at most `grace`, then ends the threads and with them what is left.
    pub(crate) async fn shutdown(self, grace: Duration) {
        self.stop.send_replace(Some(Instant::now() + grace));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the TCP side had panicked");
                }
            }
        });
        if joined.await.is_err() {
            tracing::error!("could not wait for the threads of the TCP side");
        }
    }
}

fn run(runtime: &Runtime, mut stop: watch::Receiver<Option<Instant>>, sessions: &AtomicU64) {
    runtime.block_on(async {
        // An error: the owner is gone without a word.
        let deadline = match stop.wait_for(Option::is_some).await {
            Ok(at) => at.unwrap_or_else(Instant::now),
            Err(_) => Instant::now(),
        };
        let finished = async {
            while sessions.load(Ordering::Acquire) > 0 {
                sleep(LOOK).await;
            }
        };
        if timeout_at(deadline, finished).await.is_err() {
            let sessions = sessions.load(Ordering::Relaxed);
            tracing::warn!(sessions, "closing sessions that did not end in their time");
        }
    });
}

impl Runners {
    /// Where connections of a port are accepted; ports are spread evenly.
    pub(crate) fn acceptor(&self, port: u16) -> &Handle {
        &self.0[usize::from(port) % self.0.len()].handle
    }

    /// Runs a session on the thread that has fewest.
    pub(crate) fn session(&self, session: impl Future<Output = ()> + Send + 'static) {
        let fewest = self
            .0
            .iter()
            .min_by_key(|r| r.sessions.load(Ordering::Relaxed));
        let Some(runner) = fewest else { return };
        let counted = Counted::new(runner.sessions.clone());
        runner.handle.spawn(async move {
            session.await;
            drop(counted);
        });
    }

    /// Sessions open now.
    pub(crate) fn sessions(&self) -> u64 {
        let each = self.0.iter().map(|r| r.sessions.load(Ordering::Relaxed));
        each.sum()
    }
}

/// Counts one session, from hand-over to end.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(sessions: Arc<AtomicU64>) -> Self {
        sessions.fetch_add(1, Ordering::Relaxed);
        Self(sessions)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}
