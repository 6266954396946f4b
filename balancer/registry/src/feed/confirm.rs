//! Tells the registry what is served: at once after a while of quiet, then so often at most, and now and then to stay known.

use std::time::Duration;

use hancock_proto::ids::Revision;
use hancock_proto::registry::Confirmation;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Reader, Sink, Standing};
use crate::UpstreamRegistry;

/// Least time between two confirmations: readers are many, and each is a write.
const PACE: Duration = Duration::from_secs(1);
/// A reader that has nothing new says so: its lease is renewed by it.
const REPEAT: Duration = Duration::from_secs(4);

/// Runs until dropped.
pub(super) async fn run(
    registry: &dyn UpstreamRegistry,
    sink: &dyn Sink,
    standing: &Standing,
    reader: &Reader,
) {
    let mut position = standing.position();
    let mut changed = sink.changed();
    let mut confirmed = None;
    loop {
        let begun = Instant::now();
        let told = confirmation(sink, &mut position, &mut changed, &mut confirmed, reader);
        if let Some(told) = told
            && let Err(error) = registry.confirm(&told).await
        {
            tracing::debug!(%error, "what is served could not be told");
        }
        tokio::time::sleep_until(begun + PACE).await;
        tokio::select! {
            _ = position.changed() => {}
            _ = changed.changed() => {}
            () = tokio::time::sleep(REPEAT) => {}
        }
    }
}

/// None: nothing was heard of the registry yet.
fn confirmation(
    sink: &dyn Sink,
    position: &mut watch::Receiver<Option<Revision>>,
    changed: &mut watch::Receiver<u64>,
    confirmed: &mut Option<Revision>,
    reader: &Reader,
) -> Option<Confirmation> {
    // In this order: what was applied up to the position is in what is settled.
    let applied = *position.borrow_and_update();
    changed.borrow_and_update();
    let settled = sink.settled();
    if settled.unwritten == 0 {
        *confirmed = applied;
    }
    Some(Confirmation {
        reader: reader.id.clone(),
        node: reader.node.clone(),
        boot: reader.boot.clone(),
        revision: (*confirmed)?,
        index: settled.index,
        open: settled.open,
        more: settled.more,
        ended: false,
    })
}
