//! The end of the agent, with or without its instances.

use std::sync::Arc;
use std::time::Duration;

use hancock_agent_core::search::Outcome;
use hancock_proto::ids::InstanceId;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Input, Loop, Stop, bumped};

/// Time killing what is left at the deadline may take.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

impl Loop {
    pub(super) async fn end(mut self, request: Stop) {
        // The master hears nothing of the parking: instances that come back with the next start did not end.
        self.link.close(Outcome::Lost);
        if request.instances {
            self.park(Instant::now() + request.deadline).await;
        }
        self.store();
        tracing::info!(instances = request.instances, "agent stopped");
    }

    async fn park(&mut self, deadline: Instant) {
        let mut runtime = self.runtime.changes();
        self.node.park();
        loop {
            self.turn();
            if self.node.is_parked() && !self.listing.under_way {
                return;
            }
            let due = self.due();
            let input = tokio::select! {
                Some(Ok(output)) = self.tasks.join_next() => Input::Task(output),
                () = bumped(&mut runtime) => Input::RuntimeChanged,
                () = tokio::time::sleep_until(due) => Input::Due,
                () = tokio::time::sleep_until(deadline) => break,
            };
            self.take(input);
        }
        self.kill_rest().await;
    }

    async fn kill_rest(&mut self) {
        let left: Vec<InstanceId> = self.node.still_running().cloned().collect();
        tracing::warn!(instances = left.len(), "not stopped in time; killed");
        let Some(owner) = self.node.owner() else {
            return;
        };
        let mut kills = JoinSet::new();
        for id in left {
            let (runtime, owner) = (Arc::clone(&self.runtime), owner.clone());
            kills.spawn(async move { runtime.kill(&owner, &id).await });
        }
        let all = async {
            while let Some(killed) = kills.join_next().await {
                if let Ok(Err(error)) = killed {
                    tracing::warn!(%error, "not killed");
                }
            }
        };
        if tokio::time::timeout(KILL_TIMEOUT, all).await.is_err() {
            tracing::warn!("the runtime did not kill everything in 5 s");
        }
    }
}
