//! The replicated state and every decision on it.
//!
//! - **Role**: the brain of the master, without hands. [`State::apply`] carries out one replicated command; [`plan()`] is the leader's
//!   turn and returns commands to propose and documents to publish; [`assignment()`] and [`documents()`] derive what nodes shall run and
//!   what balancers shall see; [`view`] renders the API's structures.
//! - **Data in**: commands, log indices, reports and offers of nodes, the time as an argument. **Data out**: replies, commands,
//!   assignments, upstream documents.
//! - **Invariants**: `apply` is total and gives the same result everywhere; every step of a cutover is a command whose evidence `apply`
//!   checks again; nothing old is told to stop before every node's balancer of its zones has confirmed and drained it, or its time is up;
//!   an app's documents become empty only by an explicit wish. [`invariants::check`] says the rest.
//! - **Never**: waits, reads a clock, draws a random number, opens anything, trusts the plan of a former leader, or takes missing data
//!   for a reason to remove something.

pub mod command;
pub mod invariants;
pub mod state;
pub mod view;

mod acks;
mod apply;
mod desired;
mod format;
mod leader;
mod leap;
mod plan;
mod refuse;
mod schedule;
mod snapshot;

pub use command::{Command, MasterDeed, Reply};
pub use desired::{assignment, batch, chosen, documents, registry_news, repairs};
pub use format::Format;
pub use leader::{LeaderView, Outside};
pub use leap::LEAP;
pub use plan::{Plan, Publication, plan};
pub use snapshot::SnapshotError;
pub use state::State;
