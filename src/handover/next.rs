//! The process that is to take over, as the running one sees it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Daemon;
use super::former::{self, Former};
use super::message::{Answer, FORMAT, FromFormer, FromNext};
use super::origin::TAKES_OVER;
use super::wire::{MOST_DESCRIPTORS, Wire};

/// Between looks at whether it still runs.
const LOOK: Duration = Duration::from_millis(20);
/// Time a process has to be seen ended, after it closed its end of the socket.
const MOMENT: Duration = Duration::from_secs(1);

/// A process that was started, and the way to it. Killed when dropped before it serves.
pub struct Next {
    child: Child,
    wire: Wire,
    version: String,
    serves: bool,
}

impl Drop for Next {
    fn drop(&mut self) {
        if !self.serves {
            // An error: it is gone already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Next {
    /// Starts `binary` as this process was started.
    pub fn start(binary: &Path) -> anyhow::Result<Self> {
        let (ours, theirs) = StdStream::pair().context("cannot make a pair of sockets")?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(binary);
        command
            .args(std::env::args_os().skip(1))
            .env(TAKES_OVER, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        let shown = binary.display();
        let child = command.spawn().with_context(|| {
            format!("cannot start {shown}; give another binary with --binary FILE")
        })?;
        Ok(Self {
            child,
            wire: Wire::new(UnixStream::from_std(ours)?),
            version: String::new(),
            serves: false,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn done(&self) -> Answer {
        Answer::Done {
            pid: self.pid(),
            version: self.version.clone(),
        }
    }

    /// Ends it, whatever it is doing, and returns when it has.
    pub async fn end(mut self) {
        let _ = self.child.kill();
        while matches!(self.child.try_wait(), Ok(None)) {
            sleep(LOOK).await;
        }
    }

    /// It says who it is.
    pub async fn hello(&mut self, command: &str, limit: Duration) -> anyhow::Result<()> {
        match self.said("said hello", Instant::now() + limit).await? {
            FromNext::Hello { format, .. } if format != FORMAT => bail!(
                "the binary hands over in format {format}, this process in format {FORMAT}; stop the daemon and start the new one instead"
            ),
            FromNext::Hello { command: it, .. } if it != command => {
                bail!("the binary runs as {it}, this process as {command}")
            }
            FromNext::Hello { version, .. } => {
                self.version = version;
                Ok(())
            }
            _ => bail!("the binary says something else than hello"),
        }
    }

    /// Hands everything over; returns when it serves.
    pub async fn take_over(
        &mut self,
        daemon: &Daemon,
        formers: &[Former],
        limit: Duration,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + limit;
        let sent = timeout_at(until, self.give(daemon, formers)).await;
        let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        // Why it does not listen is to be heard from it.
        let unsent = sent.err();
        match (self.said("served", until).await?, unsent) {
            (FromNext::Serving, None) => {}
            (_, Some(error)) => return Err(error).context("the sockets were not handed over"),
            _ => bail!("the binary says something else than that it serves"),
        }
        self.send(&FromFormer::Yours).await?;
        match self.said("accepted connections", until).await? {
            FromNext::Accepting => self.serves = true,
            _ => bail!("the binary says something else than that it accepts connections"),
        }
        Ok(())
    }

    async fn give(&mut self, daemon: &Daemon, formers: &[Former]) -> io::Result<()> {
        let sockets = daemon.balancer.sockets();
        for some in sockets.chunks(MOST_DESCRIPTORS) {
            let names = some.iter().map(|socket| socket.name.to_string());
            let message = FromFormer::Sockets(names.collect());
            let descriptors: Vec<_> = some.iter().map(AsFd::as_fd).collect();
            self.wire.send(&message, &descriptors).await?;
        }
        let state = FromFormer::State {
            known: Box::new(daemon.balancer.known()),
            tail: daemon.balancer.handle().tail(),
            before: former::pids(formers),
        };
        self.wire.send(&state, &[daemon.data.as_fd()]).await
    }

    /// Its next message.
    async fn said(&mut self, what: &str, until: Instant) -> anyhow::Result<FromNext> {
        let pid = self.pid();
        let said = tokio::select! {
            biased;
            said = timeout_at(until, self.wire.receive::<FromNext>()) => said,
            ended = ended(&mut self.child) => return Err(gone(pid, &ended, what)),
        };
        let problem = match said {
            Err(_) => bail!("process {pid} has not {what} in time; it is killed"),
            Ok(Ok(Some((said, _)))) => return Ok(said),
            Ok(Ok(None)) => anyhow!("it closed its end of the socket"),
            Ok(Err(error)) => error.into(),
        };
        // Mostly because it is gone.
        match timeout(MOMENT, ended(&mut self.child)).await {
            Ok(ended) => Err(gone(pid, &ended, what)),
            Err(_) => Err(problem.context(format!("process {pid} cannot be understood"))),
        }
    }

    async fn send(&mut self, message: &FromFormer) -> io::Result<()> {
        self.wire.send_in_time(message).await
    }

    /// The way to it, once it serves.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

fn gone(pid: u32, ended: &str, what: &str) -> anyhow::Error {
    anyhow!(
        "process {pid} ended ({ended}) before it {what}; its last words are in the log of this daemon"
    )
}

/// How it ended, as soon as it has.
async fn ended(child: &mut Child) -> String {
    loop {
        match child.try_wait() {
            Ok(None) => sleep(LOOK).await,
            Ok(Some(status)) => return status.to_string(),
            Err(error) => return error.to_string(),
        }
    }
}
