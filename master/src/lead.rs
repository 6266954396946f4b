//! The leader's loop: wakes when something changed, asks the core what to do, does it.
//!
//! Everything it does can be repeated by the next leader from the replicated state; what a former leader still does is refused by the
//! log or by the fence.

mod outside;
mod publish;

use std::sync::Arc;
use std::time::Duration;

use hancock_master_core::state::Elsewhere;
use hancock_master_core::{Command, Plan, Reply, plan};
use hancock_proto::ids::Term;
use hancock_registry::{Opener, UpstreamRegistry};
use tokio::sync::watch;
use tokio::time::Instant;

use self::outside::Outside;
use self::publish::Publisher;
use crate::deps::Deps;
use crate::raft::{HEARTBEAT, Leadership, ProposeError};

/// Turns follow each other at most so fast: what happens meanwhile is taken together.
const PACE: Duration = Duration::from_millis(5);
/// The longest sleep: a clock that jumped is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// First and longest pause after a turn of which nothing could be carried out.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Leads whenever this master is elected, until the master ends.
pub(crate) async fn run(deps: Arc<Deps>, registry: Arc<dyn UpstreamRegistry>, registries: Opener) {
    let mut leadership = deps.raft.leadership();
    loop {
        let elected = tokio::select! {
            elected = elected(&mut leadership) => elected,
            () = deps.stop.cancelled() => None,
        };
        let Some(term) = elected else { break };
        let outside = Outside::new(registries.clone(), deps.fence(term));
        let leader = Leader::new(&deps, registry.clone(), term, &outside);
        let ended = tokio::select! {
            ended = leader.lead() => ended,
            () = kept(&deps, &outside, term) => Ok(()),
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

/// Registries outside are looked after once the term has begun.
async fn kept(deps: &Deps, outside: &Outside, term: Term) {
    let mut leading = deps.leading();
    // An error means that the master ends.
    if leading.wait_for(|now| *now == Some(term)).await.is_ok() {
        tokio::join!(outside.keep(deps), outside.hear(deps));
    }
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

fn published_as(command: Command, elsewhere: Option<Elsewhere>) -> Command {
    match command {
        Command::Published {
            app,
            index,
            revision,
            at,
            ..
        } => Command::Published {
            app,
            index,
            revision,
            outside: elsewhere,
            at,
        },
        other => other,
    }
}

/// One term.
struct Leader<'a> {
    deps: &'a Deps,
    term: Term,
    publisher: Publisher,
    outside: &'a Outside,
    turns: u64,
    pause: Duration,
}

impl<'a> Leader<'a> {
    fn new(
        deps: &'a Deps,
        registry: Arc<dyn UpstreamRegistry>,
        term: Term,
        outside: &'a Outside,
    ) -> Self {
        Self {
            deps,
            term,
            publisher: Publisher::new(registry, deps.fence(term)),
            outside,
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
        deps.view().masters_know(deps.raft.knowledge());
        let plan = plan(applied.state(), &deps.view(), now, seed);
        let (mut done, mut tried) = (0, 0);
        for command in &plan.commands {
            tried += 1;
            done += u32::from(self.carry_out(command).await?);
        }
        let mut away = false;
        for publication in &plan.publish {
            tried += 1;
            let written = self.publisher.publish(publication, deps.now()).await;
            let Some(published) = written else { continue };
            // A registry that is away is waited for once in a turn, not once for each app.
            if away {
                continue;
            }
            match self.outside.publish(deps, publication).await {
                Some(outside) => {
                    let published = published_as(published, outside);
                    done += u32::from(self.carry_out(&published).await?);
                }
                None => away = true,
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
        if let Command::AgreeFormat { format, .. } = command {
            tracing::info!(%format, "every master knows it: it is written from here on");
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
