//! The clock of a run, which stands still while anybody has something to do.

use std::time::Duration;

use openraft_rt::AsyncRuntime;

use crate::raft::runtime::{Instant, Runtime};

/// So much time passes.
pub(super) async fn pass(span: Duration) {
    Runtime::sleep(span).await;
}

/// Time passes until then.
pub(super) async fn pass_until(then: Instant) {
    Runtime::sleep_until(then).await;
}
