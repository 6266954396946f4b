//! Tokio; on a thread that runs a simulation, the simulation: there everything that happens comes from its seed, on its own clock.

mod clock;

use std::future::Future;
use std::io;
use std::time::Duration;

use futures::TryFutureExt;
use futures::future::{Either, MapErr};
use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_sim::{SimInstant, SimJoinError, SimRuntime, SimWatch};
use openraft_rt_tokio::{TokioMpsc, TokioMutex, TokioOneshot, TokioRuntime};
use rand::SeedableRng;
use tokio::task::JoinError;

pub(crate) use self::clock::Instant;

#[derive(Debug)]
pub(crate) enum Dual {
    Tokio(TokioRuntime),
    Simulated(SimRuntime),
}

/// Why a task has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error(transparent)]
    Tokio(JoinError),
    #[error(transparent)]
    Simulated(SimJoinError),
}

/// It took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub(crate) struct Late;

type Sleep<R> = <R as AsyncRuntime>::Sleep;
type Joined<R, T> = <R as AsyncRuntime>::JoinHandle<T>;
type Timely<R, O, F> = <R as AsyncRuntime>::Timeout<O, F>;
type TooLate<R> = <R as AsyncRuntime>::TimeoutError;

/// A future with an error of ours.
type Ours<F, Theirs, Error> = MapErr<F, fn(Theirs) -> Error>;

/// Whether a simulation runs on this thread.
pub(crate) fn is_simulated() -> bool {
    SimInstant::try_now().is_some()
}

impl AsyncRuntime for Dual {
    type JoinError = Ended;
    type JoinHandle<T: OptionalSend + 'static> = Either<
        Ours<Joined<TokioRuntime, T>, JoinError, Ended>,
        Ours<Joined<SimRuntime, T>, SimJoinError, Ended>,
    >;
    type Sleep = Either<Sleep<TokioRuntime>, Sleep<SimRuntime>>;
    type Instant = Instant;
    type TimeoutError = Late;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Either<
        Ours<Timely<TokioRuntime, R, T>, TooLate<TokioRuntime>, Late>,
        Ours<Timely<SimRuntime, R, T>, TooLate<SimRuntime>, Late>,
    >;
    type ThreadLocalRng = <SimRuntime as AsyncRuntime>::ThreadLocalRng;
    // None of these needs a runtime. Tokio's watch wakes who waits in an order drawn by lot, which no seed repeats.
    type Mpsc = TokioMpsc;
    type Watch = SimWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match is_simulated() {
            true => Either::Right(SimRuntime::spawn(future).map_err(Ended::Simulated)),
            false => Either::Left(TokioRuntime::spawn(future).map_err(Ended::Tokio)),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        match is_simulated() {
            true => Either::Right(SimRuntime::sleep(duration)),
            false => Either::Left(TokioRuntime::sleep(duration)),
        }
    }

    fn sleep_until(deadline: Instant) -> Self::Sleep {
        Self::sleep(deadline.left())
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        match is_simulated() {
            true => Either::Right(SimRuntime::timeout(duration, future).map_err(|_| Late)),
            false => Either::Left(TokioRuntime::timeout(duration, future).map_err(|_| Late)),
        }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Self::timeout(deadline.left(), future)
    }

    fn is_panic(join_error: &Ended) -> bool {
        match join_error {
            Ended::Tokio(error) => TokioRuntime::is_panic(error),
            Ended::Simulated(error) => SimRuntime::is_panic(error),
        }
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        match is_simulated() {
            true => SimRuntime::thread_rng(),
            false => SeedableRng::from_rng(&mut rand::rng()),
        }
    }

    fn new(threads: usize) -> Self {
        Self::Simulated(SimRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        match self {
            Self::Tokio(runtime) => runtime.block_on(future),
            Self::Simulated(runtime) => runtime.block_on(future),
        }
    }

    async fn spawn_blocking<F, T>(deed: F) -> io::Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        super::blocking(deed).await
    }
}

#[cfg(test)]
mod tests {
    use openraft_rt::testing::Suite;

    use super::*;

    #[test]
    fn both_do_what_the_library_asks_of_a_runtime() {
        Suite::<Dual>::test_all();
        Suite::test_all_on(&mut Dual::Tokio(TokioRuntime::new(1)));
    }
}
