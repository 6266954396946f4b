//! The leader's loop: wakes when something changed, asks the core what to do, does it.
//!
//! Everything it does can be repeated by the next leader from the replicated state; what a former leader still does is refused by the
//! log or by the fence.

mod publish;

use std::sync::Arc;
use std::time::Duration;

use hancock_master_core::{Command, Plan, Reply, batch, plan};
use hancock_proto::ids::Term;
use hancock_proto::registry::Batch;
use tokio::sync::watch;
use tokio::time::Instant;

use self::publish::Publisher;
pub(crate) use self::publish::Target;
use crate::deps::Deps;
use crate::raft::{HEARTBEAT, Leadership, ProposeError};

/// Turns follow each other at most so fast: what happens meanwhile is taken together.
const PACE: Duration = Duration::from_millis(5);
/// The longest sleep: a clock that jumped is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// First and longest pause after a turn of which nothing could be carried out.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Leads whenever this master is elected, until the master ends.
pub(crate) async fn run(deps: Arc<Deps>, targets: Vec<Target>) {
    let mut leadership = deps.raft.leadership();
    loop {
        let elected = tokio::select! {
            elected = elected(&mut leadership) => elected,
            () = deps.stop.cancelled() => None,
        };
        let Some(term) = elected else { break };
        let leader = Leader::new(&deps, &targets, term);
        let ended = tokio::select! {
            ended = leader.lead() => ended,
            () = deposed(&mut leadership, term) => Ok(()),
            () = deps.stop.cancelled() => Ok(()),
        };
        deps.set_leading(None);
        match ended {
            Ok(()) => tracing::info!(%term, "no longer leading"),
            Err(error @ ProposeError::Stopped { .. }) => {
                tracing::error!(%term, %error, "this master can no longer lead");
                break;
            }
            Err(error) => {
                tracing::warn!(%term, %error, "leading was interrupted");
                tokio::time::sleep(HEARTBEAT).await;
            }
        }
    }
    deps.set_leading(None);
}

/// The next term this master leads; None: Raft has ended.
async fn elected(leadership: &mut watch::Receiver<Leadership>) -> Option<Term> {
    let now = leadership.wait_for(|now| now.leading).await.ok()?;
    Some(now.term)
}

async fn deposed(leadership: &mut watch::Receiver<Leadership>, term: Term) {
    // An error means that Raft has ended, which deposes as well.
    drop(
        leadership
            .wait_for(|now| !now.leading || now.term != term)
            .await,
    );
}

/// One term.
struct Leader<'a> {
    deps: &'a Deps,
    term: Term,
    publisher: Publisher<'a>,
    turns: u64,
    pause: Duration,
}

impl<'a> Leader<'a> {
    fn new(deps: &'a Deps, targets: &'a [Target], term: Term) -> Self {
        Self {
            deps,
            term,
            publisher: Publisher::new(targets, deps.fence(term), || published(deps)),
            turns: 0,
            pause: PAUSE.0,
        }
    }

    async fn lead(mut self) -> Result<(), ProposeError> {
        self.begin().await?;
        let mut applied = self.deps.raft.applied();
        loop {
            applied.borrow_and_update();
            let begun = Instant::now();
            let (plan, worked) = self.turn().await?;
            let sleep = self.sleep(&plan, worked);
            tokio::time::sleep_until(begun + PACE).await;
            if !worked {
                // Nothing of it could be carried out: asking again at once would get the same answer.
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(PAUSE.1);
                continue;
            }
            self.pause = PAUSE.0;
            tokio::select! {
                _ = applied.changed() => {}
                () = self.deps.nudged() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    async fn begin(&mut self) -> Result<(), ProposeError> {
        let deps = self.deps;
        if deps
            .raft
            .read(HEARTBEAT * 10)
            .await?
            .state()
            .cluster
            .is_none()
        {
            let cluster = deps.cluster.clone();
            let at = deps.now();
            deps.propose(Command::Init { cluster, at }).await?;
            tracing::info!(cluster = %deps.cluster, "new cluster");
        }
        deps.propose(Command::TermStarted {
            term: self.term,
            leader: deps.name.clone(),
            at: deps.now(),
        })
        .await?;
        self.publisher.raise().await;
        deps.set_leading(Some(self.term));
        tracing::info!(term = %self.term, "leading");
        Ok(())
    }

    /// One turn; false: there was something to do and nothing of it could be done.
    async fn turn(&mut self) -> Result<(Plan, bool), ProposeError> {
        let deps = self.deps;
        // Reading confirms the leadership: after a pause another one may lead, and this one must not send.
        let applied = deps.raft.read(HEARTBEAT * 10).await?;
        self.turns += 1;
        let now = deps.now();
        let seed = now.0.rotate_left(20) ^ self.turns;
        let plan = plan(applied.state(), &deps.view(), now, seed);
        let (mut done, mut tried) = (0, 0);
        for command in &plan.commands {
            tried += 1;
            done += u32::from(self.carry_out(command).await?);
        }
        for publication in &plan.publish {
            tried += 1;
            if let Some(published) = self.publisher.publish(publication, deps.now()).await {
                done += u32::from(self.carry_out(&published).await?);
            }
        }
        Ok((plan, tried == 0 || done > 0))
    }

    async fn carry_out(&self, command: &Command) -> Result<bool, ProposeError> {
        let reply = self.deps.propose(command.clone()).await?;
        if let Reply::Refused(error) = &reply {
            tracing::debug!(
                code = error.code,
                message = error.message,
                ?command,
                "step refused"
            );
            return Ok(false);
        }
        tracing::debug!(?command, "step");
        Ok(true)
    }

    fn sleep(&self, plan: &Plan, worked: bool) -> Duration {
        let now = self.deps.now();
        let planned = plan.wake_at.map_or(LONGEST_SLEEP, |at| at.since(now));
        let retry = if self.publisher.is_waiting() && worked {
            PAUSE.0
        } else {
            LONGEST_SLEEP
        };
        planned.min(retry).min(LONGEST_SLEEP)
    }
}

/// Every app's documents that are published. Those on their way are published in turn.
fn published(deps: &Deps) -> Vec<Batch> {
    let applied = deps.raft.newest();
    let state = applied.state();
    let settled = state.apps.values().filter(|app| app.routes.is_published());
    let batches = settled.filter_map(|app| batch(state, &app.name));
    batches.filter(|batch| !batch.changes.is_empty()).collect()
}
