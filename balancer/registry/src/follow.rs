//! Turns a store that can be read at any time into a watch. A slow reader costs nothing: the next read takes everything it missed.

use hancock_proto::ids::Revision;
use hancock_proto::registry::Store;
use tokio::sync::{mpsc, watch};

use crate::{Watch, WatchItem};

/// Items a reader may leave lying; after that the changes gather in the store.
const QUEUE: usize = 4;

/// Follows the store from `position`; the watch ends when `revisions` closes or the reader goes away.
pub(crate) fn follow(
    position: Revision,
    revisions: watch::Receiver<Revision>,
    read: impl Fn() -> Store + Send + 'static,
) -> Watch {
    let (tx, rx) = mpsc::channel(QUEUE);
    tokio::spawn(run(position, revisions, read, tx));
    rx
}

async fn run(
    mut position: Revision,
    mut revisions: watch::Receiver<Revision>,
    read: impl Fn() -> Store + Send + 'static,
    tx: mpsc::Sender<WatchItem>,
) {
    loop {
        revisions.borrow_and_update();
        let (item, last) = next(&read(), &mut position);
        if let Some(item) = item
            && (tx.send(item).await.is_err() || last)
        {
            return;
        }
        tokio::select! {
            changed = revisions.changed() => if changed.is_err() { return },
            () = tx.closed() => return,
        }
    }
}

fn next(store: &Store, position: &mut Revision) -> (Option<WatchItem>, bool) {
    let Some(changes) = store.changes_after(*position) else {
        return (Some(WatchItem::Compacted), true);
    };
    if store.revision() == *position {
        return (None, false);
    }
    *position = store.revision();
    let item = WatchItem::Changes {
        revision: *position,
        changes,
    };
    (Some(item), false)
}
