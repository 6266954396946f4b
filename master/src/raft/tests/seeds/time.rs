//! The clock of a run, which stands still while anybody has something to do.

use std::time::Duration;

use tokio::time::Instant;

/// So much time passes.
pub(super) async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Time passes until then.
pub(super) async fn pass_until(then: Instant) {
    tokio::time::sleep_until(then).await;
}
