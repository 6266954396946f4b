//! Follows the engine's events, and notices when it goes away and comes back.

use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use futures::StreamExt;
use hancock_proto::time::{Clock, SystemClock};

use super::{RuntimeError, Shared, connect, observe};

const FIRST_PAUSE: Duration = Duration::from_millis(100);

const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Seconds of events that are told again after each connect.
const OVERLAP: u64 = 2;

/// The engine tells of an end before its own list shows it: the list is asked for again after each of these.
const AGAIN: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// What can change a list. Probes of health tell themselves in three more events each, which nobody here wants: what they come to is one.
const ACTIONS: [&str; 8] = [
    "create",
    "start",
    "die",
    "destroy",
    "oom",
    "pause",
    "unpause",
    "health_status",
];

/// Runs until dropped. Every event, and every loss and return of the engine, is a notice: the list is the truth, not the event.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match follow(&shared, &mut pause).await {
            Ok(()) => tracing::warn!("docker engine closed its event stream"),
            Err(error) => tracing::debug!(%error, "docker engine's events are not to be had"),
        }
        shared.connection.lost();
        if pause == FIRST_PAUSE {
            // Whoever lists now learns that it is away; after that only its return is news.
            shared.notify();
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Unix time so many seconds ago, as the engine on this machine tells it.
fn seconds_ago(seconds: u64) -> String {
    (SystemClock.now().0 / 1000)
        .saturating_sub(seconds)
        .to_string()
}

async fn follow(shared: &Shared, pause: &mut Duration) -> Result<(), RuntimeError> {
    let docker = shared.connection.docker().await?;
    // It answers: its next loss is news again.
    *pause = FIRST_PAUSE;
    let mut filters = observe::labelled(&shared.node);
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    filters.insert("event".to_owned(), ACTIONS.map(str::to_owned).to_vec());
    let options = EventsOptions {
        // The stream is begun by its first poll: from a little earlier on, nothing falls between it and the list.
        since: Some(seconds_ago(OVERLAP)),
        filters: Some(filters),
        ..EventsOptions::default()
    };
    let mut events = Box::pin(docker.events(Some(options)));
    // What happened while nobody followed is in the list that this asks for.
    shared.notify();
    let mut again: &[Duration] = &[];
    loop {
        let next = match again.split_first() {
            None => events.next().await,
            Some((pause, rest)) => match tokio::time::timeout(*pause, events.next()).await {
                Ok(next) => next,
                Err(_) => {
                    again = rest;
                    shared.notify();
                    continue;
                }
            },
        };
        let Some(event) = next else { return Ok(()) };
        let event = event.map_err(|e| connect::error("follow", "events", e))?;
        tracing::debug!(action = event.action, "docker event");
        if event.action.as_deref() == Some("die") {
            again = &AGAIN;
        }
        shared.notify();
    }
}
