//! Carries deeds out: many side by side, each with a deadline, each kind with its own limit, so that a slow pull delays no start and
//! a long stop delays nothing.

use std::sync::Arc;
use std::time::Duration;

use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::instance::{Deed, Failure, FailureKind};
use hancock_agent_core::observed::{Observed, Owner};
use hancock_agent_core::reconcile::Action;
use hancock_proto::assignment::PortBinding;
use tokio::sync::Semaphore;

use crate::detect;
use crate::runtime::ContainerRuntime;

use super::{Loop, Output};

/// Time a preparation may take; a large image over a slow line.
pub(super) const PREPARE_TIMEOUT: Duration = Duration::from_secs(900);

/// Time a start, a kill or a removal may take.
const DEED_TIMEOUT: Duration = Duration::from_secs(60);

/// How many deeds of a kind may be under way.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    prepare: Arc<Semaphore>,
    start: Arc<Semaphore>,
    end: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prepare: Arc::new(Semaphore::new(4)),
            start: Arc::new(Semaphore::new(8)),
            // Stops mostly wait for the app; they cost nothing meanwhile.
            end: Arc::new(Semaphore::new(128)),
        }
    }
}

impl Limits {
    /// Places for what fetches images.
    pub(super) fn pulls(&self) -> Arc<Semaphore> {
        Arc::clone(&self.prepare)
    }

    fn of(&self, deed: Deed) -> Arc<Semaphore> {
        match deed {
            Deed::Prepare => Arc::clone(&self.prepare),
            Deed::Start | Deed::Limit => Arc::clone(&self.start),
            Deed::Stop | Deed::Kill | Deed::Remove => Arc::clone(&self.end),
        }
    }
}

impl Loop {
    /// Begins a deed; its outcome comes back as [`Output::Done`].
    pub(super) fn begin(&mut self, action: Action) {
        let (instance, deed) = (action.instance().clone(), action.deed());
        // Nothing is planned without an assignment, and the assignment names the cluster.
        let Some(owner) = self.node.owner() else {
            return;
        };
        tracing::debug!(%instance, ?deed, "begin");
        let (runtime, limit) = (Arc::clone(&self.runtime), self.limits.of(deed));
        self.tasks.spawn(async move {
            // Held while it lasts. An error would mean a closed semaphore, and nobody closes them.
            let _permit = limit.acquire_owned().await.ok();
            let time = timeout(&action);
            let outcome =
                match tokio::time::timeout(time, carry_out(&*runtime, &owner, &action)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(late(deed, time)),
                };
            Output::Done {
                instance,
                deed,
                outcome,
            }
        });
    }
}

async fn carry_out(
    runtime: &dyn ContainerRuntime,
    owner: &Owner,
    action: &Action,
) -> Result<Option<Observed>, Failure> {
    let nothing = |()| None;
    let outcome = match action {
        Action::Prepare(spec) => {
            free(spec)?;
            runtime.prepare(spec).await.map(nothing)
        }
        Action::Start(spec) => runtime.start(spec).await.map(Some),
        Action::Limit(instance, reserved, limits) => runtime
            .limit(owner, instance, reserved, limits)
            .await
            .map(nothing),
        Action::Stop(instance, rule) => runtime.stop(owner, instance, rule).await.map(nothing),
        Action::Kill(instance) => runtime.kill(owner, instance).await.map(nothing),
        Action::Remove(instance) => runtime.remove(owner, instance).await.map(nothing),
    };
    outcome.map_err(Failure::from)
}

/// Its host ports must be nobody else's: the master knows only of those it gave out itself.
fn free(spec: &StartSpec) -> Result<(), Failure> {
    let taken = |port: &&PortBinding| detect::is_any_in_use(port);
    match spec.ports.iter().find(taken) {
        None => Ok(()),
        Some(port) => Err(Failure {
            kind: FailureKind::Elsewhere,
            reason: format!(
                "another program on the node listens on port {} (port {:?} of the app)",
                port.host, port.name
            ),
        }),
    }
}

fn timeout(action: &Action) -> Duration {
    match action {
        Action::Prepare(_) => PREPARE_TIMEOUT,
        Action::Stop(_, rule) => rule.grace.duration() + DEED_TIMEOUT,
        Action::Start(_) | Action::Limit(..) | Action::Kill(_) | Action::Remove(_) => DEED_TIMEOUT,
    }
}

fn late(deed: Deed, time: Duration) -> Failure {
    // What takes a node so long is not tried there again: in as long an interval attempts would never be used up.
    let kind = match deed {
        Deed::Prepare => FailureKind::Elsewhere,
        _ => FailureKind::Temporary,
    };
    Failure {
        kind,
        reason: format!(
            "the runtime did not {} within {} s",
            word(deed),
            time.as_secs()
        ),
    }
}

fn word(deed: Deed) -> &'static str {
    match deed {
        Deed::Prepare => "prepare it",
        Deed::Start => "start it",
        Deed::Limit => "change its limits",
        Deed::Stop => "stop it",
        Deed::Kill => "kill it",
        Deed::Remove => "remove it",
    }
}
