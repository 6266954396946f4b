//! A moment on tokio's clock or a simulation's; nobody compares those of one with those of the other.

use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::LazyLock;
use std::time::Duration;

use openraft_rt::instant;
use openraft_rt_sim::SimInstant;
use tokio::time::Instant as TokioInstant;

/// Where tokio's clock is read the first time.
static FIRST: LazyLock<TokioInstant> = LazyLock::new(TokioInstant::now);
/// Moments before the first one are needed too.
const BEFORE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it is after the clock's beginning, which was a day before anybody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    /// Time until then.
    pub(super) fn left(self) -> Duration {
        self - <Self as instant::Instant>::now()
    }
}

impl instant::Instant for Instant {
    fn now() -> Self {
        let since = match SimInstant::try_now() {
            Some(now) => now.elapsed_since_start(),
            None => {
                let first = *FIRST;
                TokioInstant::now().saturating_duration_since(first)
            }
        };
        Self(BEFORE + since)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0 + span)
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0 - span)
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Nothing when `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, span: Duration) {
        *self = *self - span;
    }
}
