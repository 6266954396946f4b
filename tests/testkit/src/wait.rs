//! Waiting for a condition, with a deadline. The only place where tests sleep.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// Time between two looks. Short, because nearly every wait in the tests ends within a few looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// Looks until `condition` gives a value and returns it. `Err` says what was seen instead; the last one is told when time is up.
///
/// # Panics
/// When `deadline` has passed without a value.
#[track_caller]
pub fn wait_for<T, E: Display>(
    what: &str,
    deadline: Duration,
    condition: impl FnMut() -> Result<T, E>,
) -> T {
    try_wait_for(what, deadline, condition).unwrap_or_else(|late| panic!("{late}"))
}

/// As [`wait_for`], with the lateness as an error.
///
/// # Errors
/// When `deadline` has passed without a value: one sentence with what was seen last.
pub fn try_wait_for<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<T, E>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(seen) if start.elapsed() >= deadline => return Err(late(what, start, &seen)),
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

/// As [`wait_for`], for async tests.
///
/// # Panics
/// When `deadline` has passed without a value.
pub async fn wait_for_async<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> F,
) -> T {
    let start = tokio::time::Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(seen) if start.elapsed() >= deadline => {
                panic!("{}", late(what, start.into_std(), &seen))
            }
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// Watches that `condition` stays true for `span`: for "nothing must happen", which no wait can show.
///
/// # Panics
/// As soon as it is not, with what was seen.
#[track_caller]
pub fn stays<E: Display>(what: &str, span: Duration, mut condition: impl FnMut() -> Result<(), E>) {
    let start = Instant::now();
    while start.elapsed() < span {
        if let Err(seen) = condition() {
            panic!("{what}: no longer after {:.2?}: {seen}", start.elapsed());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// As [`stays`], for async tests.
///
/// # Panics
/// As soon as it is not, with what was seen.
pub async fn stays_async<E: Display>(
    what: &str,
    span: Duration,
    mut condition: impl AsyncFnMut() -> Result<(), E>,
) {
    let start = Instant::now();
    while start.elapsed() < span {
        if let Err(seen) = condition().await {
            panic!("{what}: no longer after {:.2?}: {seen}", start.elapsed());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn late(what: &str, start: Instant, seen: &dyn Display) -> String {
    format!(
        "waited {:.1?} for {what}; last seen: {seen}",
        start.elapsed()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_the_wait() {
        let mut looks = 0;
        let seen = wait_for("third look", Duration::from_secs(5), || {
            looks += 1;
            if looks == 3 {
                Ok(looks)
            } else {
                Err("not yet")
            }
        });
        assert_eq!(seen, 3);
    }

    #[test]
    fn lateness_tells_what_was_seen() {
        let late = try_wait_for("the moon", Duration::ZERO, || Err::<(), _>("clouds")).unwrap_err();
        assert!(
            late.contains("the moon") && late.contains("clouds"),
            "{late}"
        );
    }

    #[tokio::test]
    async fn async_waits_end_too() {
        let mut looks = 0;
        wait_for_async("tenth look", Duration::from_secs(1), || {
            looks += 1;
            let n = looks;
            async move { if n == 10 { Ok(()) } else { Err(n) } }
        })
        .await;
    }
}
