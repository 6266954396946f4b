//! The registry chosen beside the master's own stream: listed and watched by a task, weighed by [`Paths`] in the loop.
//!
//! [`Paths`]: hancock_registry::paths::Paths

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hancock_agent_core::search::Outcome;
use hancock_proto::ids::{Revision, ZoneName};
use hancock_proto::registry::{Change, Choice, Listing};
use hancock_proto::report::Follows;
use hancock_registry::feed::jitter;
use hancock_registry::{Opener, RegistryError, UpstreamRegistry, WatchItem};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Loop;

/// Longest pause before a registry that could not be reached, or whose watch ended, is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// News that may wait for the loop.
const QUEUE: usize = 4;

/// Which registry to follow, as the leader said; also on disk, so that it is followed while no master answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Which.
    pub choice: Choice,
    /// Documents of these zones.
    pub zones: BTreeSet<ZoneName>,
}

/// What the task brings.
#[derive(Debug)]
pub(super) enum News {
    Listed(Listing),
    Changed(Revision, Vec<Change>),
}

/// The task that follows it; none for the master's own.
#[derive(Debug, Default)]
pub(super) struct Following {
    task: Option<(mpsc::Receiver<News>, JoinHandle<()>)>,
    /// The leader waits for a report from this revision on.
    filled: Option<Revision>,
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.task {
            task.abort();
        }
    }
}

impl Following {
    fn of(chosen: &Chosen, opener: &Opener) -> Self {
        if chosen.choice.url.is_embedded() {
            return Self::default();
        }
        let url = &chosen.choice.url;
        let opened = opener.open(url);
        let opened = opened.inspect_err(
            |error| tracing::error!(%error, "the registry chosen cannot be followed; the master's own is"),
        );
        let (news, inbox) = mpsc::channel(QUEUE);
        let follow = |registry| (inbox, tokio::spawn(follow(registry, news)));
        Self {
            task: opened.ok().map(follow),
            filled: None,
        }
    }

    /// The next news; never, when nothing is followed. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> News {
        match &mut self.task {
            Some((inbox, _)) => match inbox.recv().await {
                Some(news) => news,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

/// Lists once and watches from there; a watch that ends goes on where it was, as long as the registry remembers.
async fn follow(registry: Arc<dyn UpstreamRegistry>, news: mpsc::Sender<News>) {
    let (mut told, mut position) = (false, None);
    loop {
        match watch(&*registry, &news, &mut position).await {
            Ok(()) if news.is_closed() => return,
            Ok(()) => told = false,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "the registry chosen is away; what is known stays");
                }
            }
        }
        tokio::time::sleep(jitter(PAUSE)).await;
    }
}

/// One watch to its end, with a list before it where there is no `position` to go on from.
async fn watch(
    registry: &dyn UpstreamRegistry,
    news: &mpsc::Sender<News>,
    position: &mut Option<Revision>,
) -> Result<(), RegistryError> {
    let from = match *position {
        Some(known) => known,
        None => {
            let listing = registry.list().await?;
            let revision = listing.revision;
            if news.send(News::Listed(listing)).await.is_err() {
                return Ok(());
            }
            *position.insert(revision)
        }
    };
    let mut watch = registry.watch_from(from).await?;
    while let Some(item) = watch.recv().await {
        match item {
            WatchItem::Changes { revision, changes } => {
                if news.send(News::Changed(revision, changes)).await.is_err() {
                    break;
                }
                *position = Some(revision);
            }
            WatchItem::Compacted => *position = None,
            WatchItem::Damaged { name, problem } => {
                tracing::warn!(service = %name, problem, "the registry holds no document there; the last good one stays");
            }
        }
    }
    Ok(())
}

impl Loop {
    /// The leader says what to follow: on disk first.
    pub(super) fn follow(&mut self, chosen: Chosen, filled: Option<Revision>) {
        if self.record.chosen != chosen {
            let before = std::mem::replace(&mut self.record.chosen, chosen);
            if !self.store() {
                self.record.chosen = before;
                return self.link.close(Outcome::Lost);
            }
            tracing::info!(registry = %self.record.chosen.choice.url, "following");
            self.begin_following();
        }
        self.following.filled = filled;
        self.reporting.send_again();
    }

    /// Also at the start, from what is on disk.
    pub(super) fn begin_following(&mut self) {
        self.paths.follow(self.record.chosen.zones.clone());
        self.following = Following::of(&self.record.chosen, &self.options.registries);
    }

    pub(super) fn outside(&mut self, news: News) {
        let reached = |paths: &hancock_registry::paths::Paths, filled: Option<Revision>| {
            filled.is_some_and(|filled| paths.outside().is_some_and(|at| at >= filled))
        };
        let before = reached(&self.paths, self.following.filled);
        let applies = match news {
            News::Listed(listing) => self.paths.list_outside(listing),
            News::Changed(revision, changes) => self.paths.changes_outside(revision, changes),
        };
        self.apply(applies);
        if !before && reached(&self.paths, self.following.filled) {
            self.reporting.send_again();
        }
    }

    /// How far the chosen registry is followed.
    pub(super) fn follows(&self) -> Option<Follows> {
        let choice = &self.record.chosen.choice;
        let revision = match choice.url.is_embedded() {
            true => self.paths.revision(),
            false => self.paths.outside(),
        };
        Some(Follows {
            choice: choice.number,
            revision: revision?,
        })
    }
}
