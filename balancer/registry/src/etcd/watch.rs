//! Changes as they come. A watch that falls silent is asked for a sign of life, and left when none comes; one that would go on in another
//! history says that everything is to be listed. Of a connection that is dead say the pings of [`super::calls`], sooner.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Event, EventType, WatchOptions, WatchResponse, WatchStream};
use hancock_proto::ids::Revision;
use hancock_proto::registry::Change;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::calls::{Calls, Failure};
use super::history::History;
use super::keys::Keys;
use super::read::{signed, unsigned};
use super::{Etcd, keys};
use crate::{RegistryError, Watch, WatchItem};

/// Items a reader may leave lying; then the store holds back.
const QUEUE: usize = 16;

/// A running watch.
struct Running {
    calls: Arc<Calls>,
    keys: Keys,
    history: Arc<Mutex<History>>,
    stream: WatchStream,
    epoch: u64,
    /// Everything up to here was told.
    position: i64,
    out: mpsc::Sender<WatchItem>,
}

/// How a watch ended.
enum End {
    /// Nobody listens any more.
    Unwanted,
    /// List, then watch.
    Compacted,
    /// The connection or its member is of no use.
    Broken(String),
}

impl Etcd {
    pub(super) async fn follow(&self, revision: Revision) -> Result<Watch, RegistryError> {
        let failed = |failure| self.calls.error(failure);
        let position = signed(revision);
        let (out, watch) = mpsc::channel(QUEUE);
        if !self.is_resumable(position).await.map_err(failed)? {
            // There is room for one.
            drop(out.try_send(WatchItem::Compacted));
            return Ok(watch);
        }
        let options = WatchOptions::new()
            .with_range(self.keys.end())
            .with_start_revision(position.saturating_add(1))
            .with_progress_notify();
        let begin = self.keys.begin();
        let deadline = self.calls.timing().call;
        let opened = self.calls.call(deadline, |connection| async move {
            let stream = connection.watch().watch(begin, Some(options)).await?;
            Ok((stream, connection.epoch()))
        });
        let (stream, epoch) = opened.await.map_err(failed)?;
        let running = Running {
            calls: self.calls.clone(),
            keys: self.keys.clone(),
            history: self.history.clone(),
            stream,
            epoch,
            position,
            out,
        };
        tokio::spawn(running.run());
        Ok(watch)
    }
}

impl Running {
    async fn run(mut self) {
        let end = self.pass_on().await;
        match end {
            End::Unwanted => {}
            End::Compacted => drop(self.out.send(WatchItem::Compacted).await),
            End::Broken(reason) => {
                tracing::debug!(reason, "a watch of the registry ended");
                self.calls.leave(self.epoch, true).await;
            }
        }
    }

    async fn pass_on(&mut self) -> End {
        let timing = self.calls.timing();
        let mut heard = Instant::now();
        let mut asked = false;
        loop {
            let patience = if asked { timing.silence } else { timing.ask };
            let message = tokio::select! {
                message = self.stream.message() => message,
                () = self.out.closed() => return End::Unwanted,
                () = tokio::time::sleep_until(heard + patience) => match self.silent(asked).await {
                    None => {
                        asked = true;
                        continue;
                    }
                    Some(end) => return end,
                },
            };
            let answer = match message {
                Ok(Some(answer)) => answer,
                Ok(None) => return End::Broken("the member ended it".to_owned()),
                Err(error) => return end_of(&error),
            };
            if let Some(end) = self.take(&answer).await {
                return end;
            }
            // Not before: the time our own reader took is nobody's silence.
            (heard, asked) = (Instant::now(), false);
        }
    }

    /// Asks for a sign of life, once.
    async fn silent(&mut self, asked: bool) -> Option<End> {
        if asked {
            return Some(End::Broken("the member is silent".to_owned()));
        }
        let asking = self.stream.request_progress();
        match tokio::time::timeout(Duration::from_secs(1), asking).await {
            Ok(Ok(())) => None,
            _ => Some(End::Broken("the connection takes nothing".to_owned())),
        }
    }

    async fn take(&mut self, answer: &WatchResponse) -> Option<End> {
        if answer.canceled() {
            return Some(match answer.compact_revision() {
                0 => End::Broken(format!("refused: {}", answer.cancel_reason())),
                _ => End::Compacted,
            });
        }
        let revision = answer.header().map_or(0, |header| header.revision());
        if answer.events().is_empty() && revision < self.position {
            return Some(End::Compacted);
        }
        // Only what comes by the watch itself is in order with its events. Answers to questions may overtake them.
        let in_order = answer.watch_id() >= 0 && !answer.created();
        if answer.events().is_empty() && in_order {
            self.position = self.position.max(revision);
        }
        for item in self.items(answer.events()) {
            if self.out.send(item).await.is_err() {
                return Some(End::Unwanted);
            }
        }
        None
    }

    fn items(&mut self, events: &[Event]) -> Vec<WatchItem> {
        let (mut changes, mut items) = (Vec::new(), Vec::new());
        for event in events {
            let Some(kv) = event.kv() else { continue };
            self.position = self.position.max(kv.mod_revision());
            let Some(name) = self.keys.service(kv.key()) else {
                continue;
            };
            let doc = match event.event_type() {
                EventType::Delete => None,
                EventType::Put => match keys::document(kv.value()) {
                    Ok(doc) => Some(Arc::new(doc)),
                    Err(problem) => {
                        items.push(WatchItem::Damaged { name, problem });
                        continue;
                    }
                },
            };
            self.note(kv.key(), kv.mod_revision(), doc.is_some());
            let revision = unsigned(kv.mod_revision());
            changes.push(Change {
                revision,
                name,
                doc,
            });
        }
        // Last: it says that everything up to the revision was told.
        let revision = unsigned(self.position);
        items.push(WatchItem::Changes { revision, changes });
        items
    }

    fn note(&self, key: &[u8], revision: i64, there: bool) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mark) = history.mark.as_mut().filter(|_| there) {
            mark.advance(key, revision);
        }
    }
}

/// Answers too large to be taken are listed instead, page by page.
fn end_of(error: &etcd_client::Error) -> End {
    match Failure::of(error) {
        Failure::Compacted => End::Compacted,
        Failure::Refused(reason) if reason.contains("message length too large") => {
            tracing::warn!(
                reason,
                "changes are too large for one message; listing instead"
            );
            End::Compacted
        }
        Failure::Refused(reason) | Failure::Lost(reason) | Failure::Unreachable(reason) => {
            End::Broken(reason)
        }
    }
}
