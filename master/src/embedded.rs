//! The embedded registry's store is part of the replicated state: writes go through the log.

use async_trait::async_trait;
use hancock_master_core::{Command, Reply};
use hancock_proto::ids::Revision;
use hancock_proto::registry::{Batch, Fence, Outcome, Store};
use hancock_registry::RegistryError;
use hancock_registry::embedded::Replica;
use tokio::sync::watch;

use crate::deps::Deps;
use crate::raft::ProposeError;

#[async_trait]
impl Replica for Deps {
    async fn propose_raise(&self, fence: &Fence) -> Result<Option<Fence>, RegistryError> {
        let command = Command::RegistryRaise {
            fence: fence.clone(),
            at: self.now(),
        };
        match self.propose(command).await {
            Ok(Reply::Raised(higher)) => Ok(higher),
            Ok(other) => Err(away(format!(
                "raising the fence was answered with {other:?}"
            ))),
            Err(error) => Err(away(error.to_string())),
        }
    }

    async fn propose_publish(
        &self,
        batch: &Batch,
        fence: &Fence,
    ) -> Result<Outcome, RegistryError> {
        let command = Command::RegistryPublish {
            batch: batch.clone(),
            fence: fence.clone(),
            at: self.now(),
        };
        match self.propose(command).await {
            Ok(Reply::Registry(outcome)) => Ok(outcome),
            Ok(other) => Err(away(format!("a publish was answered with {other:?}"))),
            Err(ProposeError::Unknown) => Ok(Outcome::Unknown),
            Err(error) => Err(away(error.to_string())),
        }
    }

    fn store(&self) -> Store {
        self.raft.newest().state().registry.clone()
    }

    fn revisions(&self) -> watch::Receiver<Revision> {
        self.raft.revisions()
    }
}

fn away(reason: String) -> RegistryError {
    RegistryError::Unreachable {
        store: "embedded".into(),
        reason,
    }
}
