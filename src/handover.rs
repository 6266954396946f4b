//! One process of a daemon hands over to the next: a newer binary, or the same one with another configuration.
//!
//! The running process starts the next one with a socket as its standard input. The next one reads its configuration and says hello; only
//! then does the running one let go: it looks after no instances any more, takes no changes, and has written down what it knew, while
//! requests and sessions go on. It hands over its listening sockets and the locked data directory. The next one starts with both and says
//! that it can serve. From there on the former one accepts nothing, the next one does, and the former one ends when nothing is open in it any
//! more. Until there it can go back: whatever the next one does instead of serving (it ends, hangs, speaks another version), it is killed,
//! and the running one goes on; the next one has accepted nothing by then that could be lost with it.
//! So there is exactly one process at any time that looks after instances, writes and accepts; connections wait in the sockets between.

pub mod ask;
mod door;
mod following;
mod former;
mod manager;
mod message;
mod next;
mod origin;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use hancock_balancer::handover::FormerLink;
use hancock_balancer::{Balancer, Handle};
use tokio::signal::unix::Signal;

use crate::boot::{DataDir, Stop};
use door::Door;
use following::{Doorstep, Word};
use former::Former;
use message::{Answer, Wish};
use next::Next;

pub use origin::Origin;

/// Time the next process has to start, and again to serve, when nobody says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Time sessions of a former process may last, when nobody says otherwise.
pub const DRAIN: Duration = Duration::from_secs(3600);
/// Processes that may still be ending when another upgrade begins.
const MOST_FORMERS: usize = 3;
/// Idle connections of a daemon that stops are given this long for a last request.
const IDLE: Duration = Duration::from_millis(250);
/// Time between the last word to open sessions and the end of the process.
const LAST: Duration = Duration::from_secs(10);

/// What a daemon does beside its data plane: nothing of it while another process takes over.
#[async_trait]
pub trait Deeds: Send {
    /// Does nothing any more, and has written down what the next process needs.
    async fn hold(&mut self);
    /// Goes on; the balancer, too.
    async fn resume(&mut self, balancer: &mut Balancer) -> anyhow::Result<()>;
    /// The end, when nobody takes over.
    async fn stop(&mut self);
}

/// A daemon that serves.
pub struct Daemon {
    pub data: DataDir,
    pub balancer: Balancer,
    pub deeds: Box<dyn Deeds>,
    /// `agent` or `balancer`.
    pub command: &'static str,
}

/// A serving daemon, and who could take over from it.
struct Tenure {
    daemon: Daemon,
    door: Door,
    formers: Vec<Former>,
    /// What this process was started from.
    binary: PathBuf,
}

/// Serves until asked to stop, or until another process has taken over and nothing is open here any more.
///
/// # Errors
/// Signals or the socket in the data directory cannot be had, or the process this one takes over from is gone.
pub async fn serve(
    mut daemon: Daemon,
    origin: Origin,
    stop: &mut Stop,
    grace: Duration,
) -> anyhow::Result<()> {
    let door = Door::open(&daemon.data).context("cannot open the door for upgrades")?;
    let (formers, mut wishes) = origin.serving(&mut daemon).await?;
    let binary = manager::own_binary()?;
    let keeping = tokio::spawn(keep(&daemon.balancer));
    manager::ready();
    let mut tenure = Tenure {
        daemon,
        door,
        formers,
        binary,
    };
    let next = tokio::select! {
        next = tenure.until_relieved(&mut wishes) => Some(next?),
        () = stop.asked() => None,
    };
    keeping.abort();
    match next {
        Some((next, drain)) => tenure.drain(next, drain, stop).await,
        None => tenure.stop(stop, grace).await,
    }
    Ok(())
}

/// None: this process is not found, should its next one be gone.
fn doorstep(daemon: &Daemon) -> Option<Doorstep> {
    match Doorstep::open(&daemon.data, daemon.command) {
        Ok(doorstep) => Some(doorstep),
        Err(error) => {
            tracing::error!(%error, "cannot make a socket in the data directory");
            None
        }
    }
}

/// The service manager keeps what is listened on.
fn keep(balancer: &Balancer) -> impl Future<Output = ()> + use<> {
    let (sockets, mut changed) = (balancer.listening(), balancer.ports_changed());
    async move {
        let mut keeping = manager::Keeping::default();
        loop {
            keeping.keep(&sockets());
            if !manager::is_there() || changed.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Tenure {
    async fn until_relieved(&mut self, signals: &mut Signal) -> anyhow::Result<(Next, Duration)> {
        loop {
            self.formers.retain(|former| !former.has_ended());
            let (wish, mut asking) = tokio::select! {
                asked = self.door.next() => (asked.0, Some(asked.1)),
                _ = signals.recv() => (ask::usual(), None),
                () = former::one_ended(&self.formers) => {
                    self.look().await;
                    continue;
                }
            };
            let drain = Duration::from_millis(wish.drain_ms);
            let (answer, next) = match self.hand_over(wish).await? {
                Ok(next) => (next.done(), Some(next)),
                Err(problem) => {
                    let problem = format!("{problem:#}");
                    tracing::error!(problem, "no upgrade; this process serves as before");
                    (Answer::Failed { problem }, None)
                }
            };
            if let Some(asking) = &mut asking {
                asking.answer(&answer).await;
            }
            if let Some(next) = next {
                return Ok((next, drain));
            }
        }
    }

    /// Those that followed a process which is gone follow this one.
    async fn look(&mut self) {
        let known = former::pids(&self.formers);
        let orphans = following::look(&self.daemon.data, self.daemon.command, &known).await;
        for orphan in orphans {
            let link = FormerLink::found(&self.daemon.balancer.handle(), orphan.found);
            let former = Former::follow(orphan.pid, orphan.before, orphan.wire, link);
            self.formers.push(former);
        }
    }

    /// Answers the process that serves now, or why this one still does. Err: it cannot go on.
    async fn hand_over(&mut self, wish: Wish) -> anyhow::Result<anyhow::Result<Next>> {
        let (mut next, timeout) = match self.begin(wish).await {
            Ok(begun) => begun,
            Err(problem) => return Ok(Err(problem)),
        };
        tracing::info!(pid = next.pid(), "another process takes over");
        self.daemon.deeds.hold().await;
        self.daemon.balancer.hold().await;
        let taken = next.take_over(&self.daemon, &self.formers, timeout).await;
        let Err(problem) = taken else {
            return Ok(Ok(next));
        };
        // First of all: two must never act.
        next.end().await;
        let went_on = self.go_on().await;
        went_on.context("no upgrade, and this process cannot go on as before")?;
        Ok(Err(problem))
    }

    /// A process that understands what it is to do. Nothing has changed here yet.
    async fn begin(&self, wish: Wish) -> anyhow::Result<(Next, Duration)> {
        let formers = former::pids(&self.formers);
        if formers.len() >= MOST_FORMERS {
            anyhow::bail!(
                "{MOST_FORMERS} former processes still have open sessions (pids {formers:?}); try again when one has ended"
            );
        }
        let timeout = Duration::from_millis(wish.timeout_ms);
        let binary = wish.binary.unwrap_or_else(|| self.binary.clone());
        let mut next = Next::start(&binary)?;
        match next.hello(self.daemon.command, timeout).await {
            Ok(()) => Ok((next, timeout)),
            Err(problem) => {
                next.end().await;
                Err(problem)
            }
        }
    }

    async fn go_on(&mut self) -> anyhow::Result<()> {
        self.daemon.data.claim()?;
        self.door.reopen(&self.daemon.data)?;
        self.daemon.deeds.resume(&mut self.daemon.balancer).await
    }

    /// Another process serves: what is open here goes on, and is told there.
    async fn drain(self, mut next: Next, limit: Duration, stop: &mut Stop) {
        let Self {
            daemon,
            door,
            formers,
            ..
        } = self;
        let handle = daemon.balancer.handle();
        handle.relieve();
        manager::main_process(next.pid());
        let doorstep = doorstep(&daemon);
        drop((door, daemon.data, daemon.deeds));
        tracing::info!(
            pid = next.pid(),
            "another process serves; this one ends when nothing is open any more"
        );
        let everything = async {
            tokio::join!(
                daemon.balancer.leave(limit + LAST, limit),
                former::ended(&formers)
            );
        };
        tokio::select! {
            () = everything => tracing::info!("everything has ended here"),
            () = async {
                let word = tokio::select! {
                    word = following::tell(&mut next, doorstep, &handle, &formers) => word,
                    () = tokio::time::sleep(limit) => Word::Stop,
                    () = stop.asked() => Word::Stop,
                };
                if let Word::Stop = word {
                    end(&handle, &formers).await;
                }
            } => {}
        }
    }

    async fn stop(self, stop: &mut Stop, grace: Duration) {
        manager::stopping();
        for former in &self.formers {
            former.stop();
        }
        let mut daemon = self.daemon;
        tokio::select! {
            () = shutdown(daemon.balancer, grace) => {}
            () = stop.asked() => {}
        }
        daemon.deeds.stop().await;
    }
}

async fn shutdown(mut balancer: Balancer, grace: Duration) {
    if !manager::is_there() {
        return balancer.shutdown(grace).await;
    }
    // Sockets that are kept elsewhere stay as they are, with what waits in them for the next start.
    balancer.hold().await;
    balancer.leave(grace, IDLE).await;
}

/// Ends what is still open, here and before; returns when all had a last moment.
async fn end(handle: &Handle, formers: &[Former]) {
    formers.iter().for_each(Former::stop);
    handle.end_sessions();
    tokio::time::sleep(LAST).await;
    tracing::warn!("what was still open here is cut off");
}
