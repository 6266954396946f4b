//! The seam to whatever runs instances: a Docker engine, plain processes, or an engine in memory. Whole deeds in our words.

pub mod checks;
pub mod docker;
pub mod exec;
pub mod fake;
mod given;
pub mod images;
pub mod process;

use std::pin::Pin;

use async_trait::async_trait;
use futures::Stream;
use hancock_proto::app::{Limits, Resources};
use hancock_proto::exec::Order;
use hancock_proto::hub::LogLine;
use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;
use tokio::sync::watch;

use hancock_agent_core::environment::{PortSide, StartSpec};
use hancock_agent_core::instance::{Failure, FailureKind};
use hancock_agent_core::observed::{Observed, Owner, StopRule};

pub use exec::Exec;

/// Lines of an instance's log as they come.
pub type Lines = Pin<Box<dyn Stream<Item = Result<LogLine, RuntimeError>> + Send>>;

/// Something that runs instances. Instances outlive it: dropping a runtime leaves them running, and the next one lists them.
#[async_trait]
pub trait ContainerRuntime: Send + Sync {
    /// One word: "docker", "process".
    fn kind(&self) -> &'static str;

    /// Which of a port's numbers the app itself listens on.
    fn port_side(&self) -> PortSide;

    /// Version of what stands behind it; empty when that says nothing.
    ///
    /// # Errors
    /// It does not answer.
    async fn version(&self) -> Result<String, RuntimeError>;

    /// Gets what a start needs and says early what cannot work.
    ///
    /// # Errors
    /// The image is not to be had, or the spec asks for what this runtime cannot do.
    async fn prepare(&self, spec: &StartSpec) -> Result<(), RuntimeError>;

    /// How far the preparation of an instance is, in words; told by [`ContainerRuntime::changes`] now and then. None: nothing is under way,
    /// or it is not known.
    fn progress(&self, _instance: &InstanceId) -> Option<String> {
        None
    }

    /// Starts the instance, anew when it ended before. One that runs already is left alone and shown.
    ///
    /// # Errors
    /// It did not start; nothing of it runs, unless the error is [`RuntimeError::Unavailable`] or a deadline.
    async fn start(&self, spec: &StartSpec) -> Result<Observed, RuntimeError>;

    /// Lets a running instance go on under other limits of processor time, memory and processes.
    ///
    /// # Errors
    /// It does not run, or uses more than it should be given; then it goes on under what it had.
    async fn limit(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        reserved: &Resources,
        limits: &Limits,
    ) -> Result<(), RuntimeError>;

    /// Sends the signal, waits, kills after the grace period. Returns when nothing of it runs; one that is not there is fine.
    ///
    /// # Errors
    /// It may still run.
    async fn stop(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        rule: &StopRule,
    ) -> Result<(), RuntimeError>;

    /// Ends it at once. Returns when nothing of it runs; one that is not there is fine.
    ///
    /// # Errors
    /// It may still run.
    async fn kill(&self, owner: &Owner, instance: &InstanceId) -> Result<(), RuntimeError>;

    /// Sends it a signal (like "SIGHUP") at once, and does not wait for what comes of it.
    ///
    /// # Errors
    /// It does not run, or there is no such signal.
    async fn signal(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        signal: &str,
    ) -> Result<(), RuntimeError>;

    /// Removes what an ended instance left, logs included. One that is not there is fine.
    ///
    /// # Errors
    /// It still runs, or something of it could not be removed.
    async fn remove(&self, owner: &Owner, instance: &InstanceId) -> Result<(), RuntimeError>;

    /// All instances of this node, complete, running or not.
    ///
    /// # Errors
    /// The list could not be completed; half a list is never given.
    async fn list(&self) -> Result<Vec<Observed>, RuntimeError>;

    /// As [`ContainerRuntime::list`], of whatever node each is.
    ///
    /// # Errors
    /// As there.
    async fn everyones(&self) -> Result<Vec<Observed>, RuntimeError> {
        self.list().await
    }

    /// Bumped when a list would answer something else, and after the runtime was away. May be bumped too often, and may miss something:
    /// whoever watches it lists now and then anyway.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Its images. None: it has none.
    fn image_store(&self) -> Option<&dyn images::ImageStore> {
        None
    }

    /// An instance's log.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    async fn logs(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        query: LogQuery,
    ) -> Result<Lines, RuntimeError>;

    /// Runs a command beside an instance's own processes, with its files and limits, and its environment, user and working directory as far as
    /// the order says nothing else.
    ///
    /// # Errors
    /// The instance does not run, or the runtime cannot begin it. A program that is not there may as well be told on the command's standard
    /// error, with exit code 126 or 127.
    async fn exec(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        order: &Order,
    ) -> Result<Exec, RuntimeError>;
}

/// Ends one the way its owner asked for, and removes it. One that is not there any more is fine.
///
/// # Errors
/// It may still run, or something of it may be left.
pub async fn purge(runtime: &dyn ContainerRuntime, one: &Observed) -> Result<(), RuntimeError> {
    runtime.stop(&one.owner, &one.instance, &one.stop).await?;
    runtime.remove(&one.owner, &one.instance).await
}

/// Which part of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on with new lines until the instance is removed.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
}

/// Why a runtime did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The runtime itself does not answer; says nothing of the instance.
    #[error("{runtime} does not answer: {reason}")]
    Unavailable {
        /// Which runtime, with its address.
        runtime: String,
        /// What happened.
        reason: String,
    },
    /// It cannot work however often it is tried.
    #[error("cannot {deed} {what}: {reason}")]
    Impossible {
        /// What was tried.
        deed: &'static str,
        /// With what.
        what: String,
        /// Why not, and the way out.
        reason: String,
    },
    /// This node does not have or allow what is asked for; another one may.
    #[error("cannot {deed} {what} here: {reason}")]
    Elsewhere {
        /// What was tried.
        deed: &'static str,
        /// With what.
        what: String,
        /// What is missing, and the way out.
        reason: String,
    },
    /// It did not work this time.
    #[error("cannot {deed} {what}: {reason}")]
    Failed {
        /// What was tried.
        deed: &'static str,
        /// With what.
        what: String,
        /// Why not.
        reason: String,
    },
}

impl RuntimeError {
    pub(crate) fn failed(deed: &'static str, what: impl ToString, reason: impl ToString) -> Self {
        let (what, reason) = (what.to_string(), reason.to_string());
        Self::Failed { deed, what, reason }
    }

    pub(crate) fn no_images(kind: &str) -> Self {
        let reason = "this node runs plain processes, which have no images";
        Self::impossible("fetch or list images with runtime", kind, reason)
    }

    pub(crate) fn elsewhere(
        deed: &'static str,
        what: impl ToString,
        reason: impl ToString,
    ) -> Self {
        let (what, reason) = (what.to_string(), reason.to_string());
        Self::Elsewhere { deed, what, reason }
    }

    pub(crate) fn impossible(
        deed: &'static str,
        what: impl ToString,
        reason: impl ToString,
    ) -> Self {
        let (what, reason) = (what.to_string(), reason.to_string());
        Self::Impossible { deed, what, reason }
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        let kind = match error {
            RuntimeError::Unavailable { .. } => FailureKind::Unavailable,
            RuntimeError::Impossible { .. } => FailureKind::Permanent,
            RuntimeError::Elsewhere { .. } => FailureKind::Elsewhere,
            RuntimeError::Failed { .. } => FailureKind::Temporary,
        };
        Self {
            kind,
            reason: error.to_string(),
        }
    }
}
