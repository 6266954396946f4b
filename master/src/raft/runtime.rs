//! What the Raft library runs on: tokio. In tests its random numbers, and with them all that happens, can come from a seed.

#[cfg(test)]
pub(crate) mod seeded;

use tokio::task::JoinError;

#[cfg(not(test))]
pub(crate) type Runtime = openraft_rt_tokio::TokioRuntime;
#[cfg(test)]
pub(crate) type Runtime = seeded::Seeded;

/// Does what may block where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    deed: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    #[cfg(test)]
    if seeded::is_seeded() {
        return Ok(deed());
    }
    tokio::task::spawn_blocking(deed).await
}
