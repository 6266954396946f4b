//! What the Raft library runs on, and with it everything here: tasks and time are taken from this place only, so that the same code runs
//! on tokio and in a simulation.

use std::future::Future;
use std::io;
use std::time::Duration;

use openraft_rt::AsyncRuntime;

pub(super) type Instant = <Runtime as AsyncRuntime>::Instant;
pub(super) type Joined<T> = <Runtime as AsyncRuntime>::JoinHandle<T>;

/// Begins a task; it goes on when nobody holds the handle.
pub(super) fn spawn<F>(future: F) -> Joined<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Runtime::spawn(future)
}

/// So much time passes.
pub(super) fn sleep(span: Duration) -> <Runtime as AsyncRuntime>::Sleep {
    Runtime::sleep(span)
}

/// Waits for `future`, but not longer than `span`.
pub(super) fn timeout<F: Future + Send>(
    span: Duration,
    future: F,
) -> <Runtime as AsyncRuntime>::Timeout<F::Output, F> {
    Runtime::timeout(span, future)
}

#[cfg(not(test))]
pub(crate) type Runtime = openraft_rt_tokio::TokioRuntime;
#[cfg(test)]
pub(crate) type Runtime = dual::Dual;

/// Does what may block where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    deed: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    #[cfg(test)]
    if dual::is_simulated() {
        // There is one thread, and nobody waits for anything real.
        return Ok(deed());
    }
    tokio::task::spawn_blocking(deed)
        .await
        .map_err(io::Error::other)
}

#[cfg(test)]
pub(crate) mod dual;
