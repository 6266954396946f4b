//! What leader loop, hub and API share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hancock_master_core::view::Context;
use hancock_master_core::{Command, LeaderView, Reply, State};
use hancock_proto::ids::{ClusterId, Term};
use hancock_proto::registry::Fence;
use hancock_proto::time::{Clock, Timestamp};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Who};
use crate::raft::{Accepted, ProposeError, Raft};

/// Longest a write or a read waits for a leader.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Shared handles; made once.
pub(crate) struct Deps {
    pub(crate) name: String,
    pub(crate) cluster: ClusterId,
    pub(crate) raft: Raft,
    pub(crate) clock: Arc<dyn Clock>,
    /// Cancelled when the master ends.
    pub(crate) stop: CancellationToken,
    /// Snapshots that may be on their way at a time.
    pub(crate) snapshots: Arc<Semaphore>,
    view: Mutex<LeaderView>,
    /// The term this master leads and may act in.
    leading: watch::Sender<Option<Term>>,
    nudged: Notify,
}

impl Deps {
    pub(crate) fn new(name: String, cluster: ClusterId, raft: Raft, clock: Arc<dyn Clock>) -> Self {
        let view = LeaderView::new(Term(0), clock.now());
        Self {
            name,
            cluster,
            raft,
            clock,
            stop: CancellationToken::new(),
            snapshots: Arc::new(Semaphore::new(1)),
            view: Mutex::new(view),
            leading: watch::Sender::new(None),
            nudged: Notify::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the leader has seen. Held for calculations only, never across an await.
    pub(crate) fn view(&self) -> MutexGuard<'_, LeaderView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The term this master leads and may act in; None: it does not.
    pub(crate) fn leading(&self) -> watch::Receiver<Option<Term>> {
        self.leading.subscribe()
    }

    /// A term begins with an empty view, or ends.
    pub(crate) fn set_leading(&self, term: Option<Term>) {
        if let Some(term) = term {
            *self.view() = LeaderView::new(term, self.now());
        }
        self.leading.send_replace(term);
    }

    /// Something volatile has changed: the leader shall plan again.
    pub(crate) fn nudge(&self) {
        self.nudged.notify_one();
    }

    pub(crate) async fn nudged(&self) {
        self.nudged.notified().await;
    }

    pub(crate) fn fence(&self, term: Term) -> Fence {
        Fence {
            cluster: self.cluster.clone(),
            term,
        }
    }

    /// Writes a command.
    pub(crate) async fn propose(&self, command: Command) -> Result<Reply, ProposeError> {
        Ok(self.raft.propose(command, DEADLINE).await?.reply)
    }

    /// As [`Deps::propose`]; the same key is carried out once.
    async fn propose_once(
        &self,
        command: Command,
        key: Option<Arc<str>>,
    ) -> Result<Accepted, ProposeError> {
        self.raft.propose_once(command, key, DEADLINE).await
    }

    /// As [`Deps::propose`], for somebody: what was accepted is told in the audit.
    pub(crate) async fn propose_for(
        &self,
        who: &Who,
        command: Command,
        key: Option<Arc<str>>,
    ) -> Result<Reply, ProposeError> {
        let deed = command.to_string();
        let known = |key: &Arc<str>| self.raft.newest().answered(key).is_some();
        let repeated = key.as_ref().is_some_and(known);
        let accepted = self.propose_once(command, key).await?;
        if !matches!(accepted.reply, Reply::Refused(_)) {
            audit::written(who, &deed, accepted.index, repeated);
        }
        Ok(accepted.reply)
    }

    /// Reads the newest state with everything answered before.
    pub(crate) async fn read<T>(
        &self,
        render: impl FnOnce(Context<'_>) -> T,
    ) -> Result<T, ProposeError> {
        let applied = self.raft.read_here(DEADLINE).await?;
        Ok(self.render(applied.state(), render))
    }

    /// Renders from a state and the view as they are.
    pub(crate) fn render<T>(&self, state: &State, render: impl FnOnce(Context<'_>) -> T) -> T {
        let view = self.view();
        render(Context {
            state,
            leader: &view,
            now: self.now(),
        })
    }
}
