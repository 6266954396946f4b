//! Load on many TCP ports: connections that come and go, and sessions that talk for a while.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hancock_testkit::port::local;
use hancock_testkit::wait_for;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::world::SOON;

/// New connections per second that are closed after one word.
const FRESH: u32 = 200;
/// Sessions at a time.
const SESSIONS: usize = 40;
/// Words of one session, and the time between them.
const WORDS: u32 = 25;
const PAUSE: Duration = Duration::from_millis(40);
/// Time an answer may take.
const LATE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    next: AtomicUsize,
    fresh: AtomicU64,
    sessions: AtomicU64,
    outlived: AtomicU64,
    upgrades: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
    ports: Vec<SocketAddr>,
}

/// Goes on until stopped.
pub struct Callers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What became of it.
#[derive(Debug)]
pub struct Told {
    pub fresh: u64,
    pub sessions: u64,
    /// Sessions that lasted over an upgrade.
    pub outlived: u64,
    pub failures: BTreeMap<String, u64>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections of one word, {} sessions, {} of them over an upgrade; failed: {:?}",
            self.fresh, self.sessions, self.outlived, self.failures
        )
    }
}

impl Callers {
    pub fn start(ports: &[u16]) -> Self {
        let shared = Arc::new(Shared {
            ports: ports.iter().map(|port| local(*port)).collect(),
            ..Shared::default()
        });
        let driven = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(drive(driven));
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Waits for so many more connections, and a session.
    #[track_caller]
    pub fn wait(&self, more: u64) {
        let now = || (load(&self.shared.fresh), load(&self.shared.sessions));
        let (fresh, sessions) = now();
        wait_for("connections and sessions", SOON, || match now() {
            (f, s) if f >= fresh + more && s > sessions => Ok(()),
            seen => Err(format!("{seen:?}, {:?}", self.shared.failures)),
        });
    }

    /// An upgrade begins or ends: sessions that are open are open over it.
    pub fn upgraded(&self) {
        self.shared.upgrades.fetch_add(1, Ordering::Relaxed);
    }

    /// What has gone wrong up to now.
    pub fn failures(&self) -> BTreeMap<String, u64> {
        self.shared.failures.lock().unwrap().clone()
    }

    /// Lets what is open end.
    pub fn finish(mut self) -> Told {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let shared = &self.shared;
        Told {
            fresh: load(&shared.fresh),
            sessions: load(&shared.sessions),
            outlived: load(&shared.outlived),
            failures: self.failures(),
        }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

async fn drive(shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    for _ in 0..SESSIONS {
        let shared = shared.clone();
        open.spawn(async move {
            while !shared.stop.load(Ordering::Relaxed) {
                session(&shared).await;
            }
        });
    }
    let mut ticks = interval(Duration::from_secs(1) / FRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !shared.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let shared = shared.clone();
        open.spawn(async move {
            let port = shared.port();
            let said = async { say(&mut TcpStream::connect(port).await?).await };
            shared.count("a connection", &shared.fresh, said).await;
        });
    }
    while open.join_next().await.is_some() {}
}

async fn session(shared: &Shared) {
    let (port, before) = (shared.port(), load(&shared.upgrades));
    let talked = async {
        let mut stream = TcpStream::connect(port).await?;
        let mut ticks = interval(PAUSE);
        for _ in 0..WORDS {
            ticks.tick().await;
            say(&mut stream).await?;
        }
        Ok(())
    };
    let whole = shared.count("a session", &shared.sessions, talked).await;
    // It began before the upgrade did, and ended after it was done.
    if whole && load(&shared.upgrades) / 2 > before.div_ceil(2) {
        shared.outlived.fetch_add(1, Ordering::Relaxed);
    }
}

/// Says a word and hears it again.
async fn say(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"word\n").await?;
    let mut back = [0; 5];
    let heard = timeout(LATE, stream.read_exact(&mut back)).await;
    heard.map_err(|_| std::io::ErrorKind::TimedOut)??;
    assert_eq!(&back, b"word\n");
    Ok(())
}

impl Shared {
    fn port(&self) -> SocketAddr {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.ports[turn % self.ports.len()]
    }

    /// Answers whether it went well.
    async fn count(
        &self,
        what: &str,
        good: &AtomicU64,
        deed: impl Future<Output = std::io::Result<()>>,
    ) -> bool {
        match deed.await {
            Ok(()) => drop(good.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                let mut failures = self.failures.lock().unwrap();
                *failures.entry(format!("{what}: {error}")).or_default() += 1;
                return false;
            }
        }
        true
    }
}
