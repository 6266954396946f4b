//! Runs containers on one node.
//!
//! - **Role**: the shell around [`hancock_agent_core`]: keeps a session with the leader, stores what it heard, carries out what the core
//!   plans through a [`runtime::ContainerRuntime`], and tells the leader what it sees.
//! - **Data in**: assignments and registry changes from a [`link::MasterLink`]; lists and changes from the runtime; verdicts and counts
//!   from the node's balancer. **Data out**: reports, offers, log lines; documents and local instances for the balancer.
//! - **Invariants**: what was heard is on disk before it is acted upon; instances outlive the agent and are adopted, never started
//!   twice; without a master the stored assignment is kept up.
//! - **Never**: decides where something runs, talks to a registry by itself, removes anything because it heard nothing.

pub mod balancer;
pub mod detect;
pub mod journal;
pub mod link;
pub mod runtime;

mod agent;
mod run;

pub use agent::{Agent, AgentError, LIST_INTERVAL, Options};
pub use hancock_agent_core::node::ORPHAN_GRACE;
pub use hancock_agent_core::observed::Observed;
pub use hancock_agent_core::retention::Retention;
pub use run::Hygiene;
