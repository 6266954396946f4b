//! First process of a container that runs jobs, one after the other.
//!
//! - **Role**: takes jobs from the agent over a socket, runs each as a process group of its own, and ends whatever a job leaves behind, so that
//!   between two jobs nothing runs. Orphans are reaped as by every first process.
//! - **Data in**: a command and three descriptors per job ([`wire`]); SIGTERM. **Data out**: that a job was taken, and its exit code.
//! - **Invariants**: one job at a time; a job nobody waits for any more is ended; what cannot be ended ends the whole container. SIGTERM lets
//!   a job finish.
//! - **Never**: chooses what runs, keeps anything of a job, or touches processes that came into the container from outside.

pub mod wire;

mod children;
mod job;
mod signals;

use std::ffi::CString;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use signals::{Look, Signals};
use wire::Order;

/// Pauses while nobody listens grow from this one
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Time the agent has for the rest of a message it has begun.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a connection is not used any more.
enum Over {
    /// The other side is gone. True: it had jobs.
    Gone(bool),
    /// SIGTERM.
    Stopped,
}

/// Runs jobs that come over the socket until SIGTERM; `own` is the command of those that bring none.
///
/// # Errors
/// The kernel refuses signals or processes, or something a job left cannot be ended. Nothing is to be done but to end, and the container with it.
pub fn run(socket: &Path, own: &[CString]) -> io::Result<()> {
    let mut signals = Signals::catch()?;
    let mut pause = FIRST_PAUSE;
    while !signals.stop {
        if let Ok(connection) = UnixStream::connect(socket) {
            match serve(&connection, own, &mut signals)? {
                Over::Stopped => return Ok(()),
                Over::Gone(true) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Over::Gone(false) => {}
            }
        }
        signals.wait(None, Some(pause))?;
        children::reap(None)?;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

fn serve(connection: &UnixStream, own: &[CString], signals: &mut Signals) -> io::Result<Over> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut had_jobs = false;
    while !signals.stop {
        let come = signals.wait(Some((connection, Look::Words)), None)?;
        children::reap(None)?;
        if signals.stop || !come {
            continue;
        }
        let Ok(order) = wire::receive(connection) else {
            return Ok(Over::Gone(had_jobs));
        };
        had_jobs = true;
        if wire::tell_taken(connection).is_err() {
            return Ok(Over::Gone(had_jobs));
        }
        let code = job(order, own, connection, signals)?;
        if code.is_none_or(|code| wire::tell_end(connection, code).is_err()) {
            return Ok(Over::Gone(had_jobs));
        }
    }
    Ok(Over::Stopped)
}

/// Its exit code. None: nobody waited for it any more. When this returns, nothing of it is left.
fn job(
    order: Order,
    own: &[CString],
    connection: &UnixStream,
    signals: &mut Signals,
) -> io::Result<Option<i32>> {
    let pid = match job::spawn(&order, own) {
        Ok(pid) => pid,
        Err(refused) => return Ok(Some(refused.tell(order.stderr))),
    };
    // Held here, its output would never end.
    drop(order);
    let code = loop {
        if let Some(code) = children::reap(Some(pid))?.code {
            break Some(code);
        }
        if signals.wait(Some((connection, Look::End)), None)? {
            break None;
        }
    };
    children::end_all(pid, signals)?;
    Ok(code)
}
