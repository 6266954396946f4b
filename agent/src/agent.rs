//! The door to the agent: start it, end it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::BootId;
use hancock_proto::resources::NodeInfo;
use hancock_registry::Opener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::balancer::LocalBalancer;
use crate::journal::{Journal, JournalError};
use crate::link::MasterLink;
use crate::run::{Hygiene, Loop, Stop};
use crate::runtime::ContainerRuntime;

/// Time between lists of a runtime that tells of no change.
pub const LIST_INTERVAL: Duration = Duration::from_secs(60);

/// What an agent needs to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the node is and has.
    pub info: NodeInfo,
    /// This start of the daemon.
    pub boot: BootId,
    /// Masters to ask for the leader, HOST:PORT; none: the link has only one.
    pub masters: Vec<String>,
    /// Folder of the journal.
    pub data_dir: PathBuf,
    /// Time between offers.
    pub offer_interval: Duration,
    /// The runtime is listed at least this often: it tells of changes by itself, and a notice may be lost all the same.
    pub list_interval: Duration,
    /// Opens registries outside of the masters.
    pub registries: Opener,
    /// What may lie on the disk.
    pub hygiene: Hygiene,
    /// Time a container of this node that no assignment knows is left alone, with a master in reach.
    pub orphan_grace: Duration,
}

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A running agent. Dropped without [`Agent::shutdown`] it ends at once; instances go on running either way.
#[derive(Debug)]
pub struct Agent {
    stop: Option<oneshot::Sender<Stop>>,
    task: JoinHandle<()>,
}

impl Agent {
    /// Starts looking after this node's instances: at once from the journal, with a master as soon as one answers.
    ///
    /// # Errors
    /// The journal is damaged or cannot be read.
    pub async fn start(
        options: Options,
        runtime: Arc<dyn ContainerRuntime>,
        link: Arc<dyn MasterLink>,
        balancer: hancock_balancer::Handle,
    ) -> Result<Agent, AgentError> {
        Self::start_with(options, runtime, link, Arc::new(balancer)).await
    }

    /// As [`Agent::start`], with anything that judges and serves.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub async fn start_with(
        options: Options,
        runtime: Arc<dyn ContainerRuntime>,
        link: Arc<dyn MasterLink>,
        balancer: Arc<dyn LocalBalancer>,
    ) -> Result<Agent, AgentError> {
        let journal = Journal::at(&options.data_dir);
        let record = journal.load()?;
        let (stop, stopped) = oneshot::channel();
        let agent = Loop::new(options, runtime, link, balancer, journal, record);
        let task = tokio::spawn(agent.run(stopped));
        let stop = Some(stop);
        Ok(Agent { stop, task })
    }

    /// Stops looking after instances. With `stop_instances` every one is stopped first (signal, grace period; killed at the deadline);
    /// journal and assignment are kept, so that the next start brings them back.
    pub async fn shutdown(mut self, stop_instances: bool, deadline: Duration) {
        let request = Stop {
            instances: stop_instances,
            deadline,
        };
        if let Some(stop) = self.stop.take() {
            // Not sent: the loop has ended already.
            let _ = stop.send(request);
        }
        // The loop keeps the deadline itself and needs a moment to kill what is left then.
        let limit = deadline + Duration::from_secs(10);
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            tracing::warn!(?limit, "agent did not end in time; abandoned");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}
