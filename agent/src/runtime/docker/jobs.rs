//! Jobs of containers that wait for them. The engine has no part in it: the container's first process is a program of ours, which takes jobs
//! over a socket and ends what a job leaves behind.
//!
//! Whatever comes from inside may be forged by what runs there; it can spoil the jobs of its own container and nothing else.

pub(super) mod place;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::select;
use hancock_proto::exec::{MAX_COMMAND, Order, Window};
use hancock_proto::hub::Stream;
use hancock_proto::ids::InstanceId;
use hancock_runner::wire;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedMutexGuard, oneshot, watch};

use super::{DockerRuntime, RuntimeError, inspect, running};
use crate::runtime::exec::{self, Control, End, Exec, Pieces, TAKES_NO_JOBS, pieces};

/// What was tried, in errors.
const DEED: &str = "run a job in";

const _: () = assert!(wire::LONGEST == MAX_COMMAND, "what may be sent is taken");

/// Time after which a container that does not come for its job is looked at, again and again.
const LOOK: Duration = Duration::from_millis(500);

/// The places of containers that take jobs, by container.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<BTreeMap<String, Arc<Seat>>>);

impl Seats {
    /// Listened at from the first job on. None: it was not started for jobs.
    fn of(&self, container: &str, files: &Path) -> io::Result<Option<Arc<Seat>>> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seat) = seats.get(container) {
            return Ok(Some(Arc::clone(seat)));
        }
        let Some(listener) = place::listen(files)? else {
            return Ok(None);
        };
        let seat = Arc::new(Seat {
            listener,
            turn: Arc::default(),
        });
        seats.insert(container.to_owned(), Arc::clone(&seat));
        Ok(Some(seat))
    }

    /// The container is gone.
    pub(super) fn remove(&self, container: &str) {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seats.remove(container);
    }
}

/// Where one container is given its jobs.
#[derive(Debug)]
struct Seat {
    /// Connections wait here until the one before has failed.
    listener: UnixListener,
    /// Locked as long as a job runs; holds the connection between two of them.
    turn: Arc<tokio::sync::Mutex<Option<UnixStream>>>,
}

impl DockerRuntime {
    /// Waits for the container's turn, gives it the job, and returns when it has taken it.
    pub(super) async fn run_job(
        &self,
        container: &str,
        instance: &InstanceId,
        order: &Order,
    ) -> Result<Exec, RuntimeError> {
        let failed = |e: io::Error| RuntimeError::failed(DEED, instance, e);
        let seat = self.shared.jobs.of(container, &self.files(container));
        let none = || RuntimeError::failed(DEED, instance, TAKES_NO_JOBS);
        let seat = seat.map_err(failed)?.ok_or_else(none)?;
        let words = wire::words(&order.command).map_err(failed)?;
        let mut turn = Arc::clone(&seat.turn).lock_owned().await;
        loop {
            let connection = match turn.take() {
                Some(connection) => connection,
                None => self.awaited(&seat, container, instance).await?,
            };
            let (near, far) = pipes(order.stdin).map_err(failed)?;
            match give(connection, &words, &far).await {
                Ok(connection) => return Ok(near.attended(connection, turn)),
                // That of a former start, say: it has taken nothing.
                Err(error) => tracing::debug!(%instance, %error, "a job was not taken"),
            }
        }
    }

    /// The next connection of the container's first process.
    async fn awaited(
        &self,
        seat: &Seat,
        container: &str,
        instance: &InstanceId,
    ) -> Result<UnixStream, RuntimeError> {
        let failed = |e: io::Error| RuntimeError::failed(DEED, instance, e);
        loop {
            match tokio::time::timeout(LOOK, seat.listener.accept()).await {
                Ok(Err(error)) => return Err(failed(error)),
                Ok(Ok((connection, _))) if is_first_process(&connection) => return Ok(connection),
                Ok(Ok(_)) => tracing::debug!(%instance, "something else asked for jobs"),
                Err(_) => {
                    let there = inspect(&self.docker().await?, container).await?;
                    if !there.is_some_and(|there| running(&there)) {
                        return Err(RuntimeError::failed(DEED, instance, "it does not run"));
                    }
                }
            }
        }
    }
}

/// False: it is known not to be the first process of its container. An agent that sees no processes of containers believes everyone.
fn is_first_process(connection: &UnixStream) -> bool {
    let pid = connection.peer_cred().ok().and_then(|peer| peer.pid());
    let status = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
    let status = status.unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    // The last one is that in its innermost name space.
    numbers.is_none_or(|numbers| numbers.split_whitespace().last() == Some("1"))
}

/// Returns the connection when the job was taken. An error: it was not, and will not be.
async fn give(mut to: UnixStream, words: &[u8], far: &[File; 3]) -> io::Result<UnixStream> {
    let files = [far[0].as_fd(), far[1].as_fd(), far[2].as_fd()];
    to.async_io(Interest::WRITABLE, || {
        wire::send_head(&to, words.len(), files)
    })
    .await?;
    to.write_all(words).await?;
    let mut word = [0];
    to.read_exact(&mut word).await?;
    match word {
        [wire::TAKEN] => Ok(to),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// A job's input and output on this side.
struct Near {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pieces,
}

fn pipes(stdin: bool) -> io::Result<(Near, [File; 3])> {
    let (input, read): (Pin<Box<dyn AsyncWrite + Send>>, File) = match stdin {
        true => {
            let (write, read) = pipe::pipe()?;
            (Box::pin(write), for_anyone(read.into_blocking_fd()?)?)
        }
        false => (Box::pin(tokio::io::sink()), File::open("/dev/null")?),
    };
    let (write_out, out) = pipe::pipe()?;
    let (write_err, err) = pipe::pipe()?;
    let output = select(pieces(out, Stream::Stdout), pieces(err, Stream::Stderr));
    let near = Near {
        input,
        output: output.boxed(),
    };
    let write_out = for_anyone(write_out.into_blocking_fd()?)?;
    let write_err = for_anyone(write_err.into_blocking_fd()?)?;
    Ok((near, [read, write_out, write_err]))
}

/// A program of any user may open it once more, as /dev/stderr; to do so it must have it already.
fn for_anyone(pipe: OwnedFd) -> io::Result<File> {
    let file = File::from(pipe);
    file.set_permissions(Permissions::from_mode(0o666))?;
    Ok(file)
}

impl Near {
    fn attended(self, connection: UnixStream, turn: OwnedMutexGuard<Option<UnixStream>>) -> Exec {
        let (tell, end) = watch::channel(None);
        let (wanted, unwanted) = oneshot::channel();
        tokio::spawn(attend(connection, turn, unwanted, tell));
        let control = Box::new(Attended {
            end,
            _wanted: wanted,
        });
        Exec {
            input: self.input,
            output: self.output,
            control,
        }
    }
}

/// A job under way.
struct Attended {
    end: watch::Receiver<End>,
    /// Dropped: nobody waits for it any more.
    _wanted: oneshot::Sender<()>,
}

/// The connection's end is the end of the job.
async fn attend(
    mut connection: UnixStream,
    mut turn: OwnedMutexGuard<Option<UnixStream>>,
    unwanted: oneshot::Receiver<()>,
    tell: watch::Sender<End>,
) {
    let mut code = [0; 4];
    let ended = tokio::select! {
        read = connection.read_exact(&mut code) => read.map(|_| i32::from_le_bytes(code)),
        _ = unwanted => return,
    };
    let end = match ended {
        Ok(code) if (0..=255).contains(&code) => {
            *turn = Some(connection);
            Ok(code)
        }
        Ok(code) => Err(format!("its container tells a code of {code}")),
        Err(_) => Err("its container ended before it".to_owned()),
    };
    drop(turn);
    tell.send_replace(Some(end));
}

#[async_trait]
impl Control for Attended {
    async fn resize(&self, _window: Window) -> Result<(), RuntimeError> {
        let why = "a job has none";
        Err(RuntimeError::failed("resize", "the terminal", why))
    }

    async fn ended(&self) -> Result<i32, RuntimeError> {
        exec::ended(self.end.clone()).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// How a job ends when the container says this of it, and whether it is given another one over the same connection.
    async fn told(said: &[u8]) -> (Result<i32, String>, bool) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let turn: Arc<tokio::sync::Mutex<_>> = Arc::default();
        let (near, _far) = pipes(false).unwrap();
        let exec = near.attended(ours, Arc::clone(&turn).lock_owned().await);
        theirs.write_all(said).await.unwrap();
        if said.len() < 4 {
            drop(theirs);
        }
        let end = exec.control.ended().await;
        let waits = turn.lock().await.is_some();
        (end.map_err(|error| error.to_string()), waits)
    }

    #[tokio::test]
    async fn what_a_container_says_of_an_end_is_checked() {
        assert_eq!(told(&7_i32.to_le_bytes()).await, (Ok(7), true));
        for code in [256, -1, i32::MIN] {
            let (end, waits) = told(&code.to_le_bytes()).await;
            assert!(end.unwrap_err().contains(&code.to_string()) && !waits);
        }
        let (end, waits) = told(&[0, 0]).await;
        assert!(end.unwrap_err().contains("ended before it") && !waits);
    }

    #[tokio::test]
    async fn a_job_is_taken_by_the_right_word_only() {
        for (said, taken) in [(&[wire::TAKEN][..], true), (&[9], false), (&[], false)] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(said).await.unwrap();
            theirs.shutdown().await.unwrap();
            let (_near, far) = pipes(true).unwrap();
            let given = give(ours, b"true\0", &far).await;
            assert_eq!(given.is_ok(), taken, "{said:?}");
        }
    }

    #[tokio::test]
    async fn who_is_no_first_process_gets_no_jobs() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        // Both ends are this process's.
        assert_eq!(is_first_process(&ours), std::process::id() == 1);
    }
}
