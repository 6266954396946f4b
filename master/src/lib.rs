//! A master: the replicated log, the leader's loop, the API for people, the hub for agents.
//!
//! - **Role**: gives `hancock_master_core` hands. Everything decided is decided there.
//! - **Data in**: requests of the API, messages of agents, the clock. **Data out**: replies, assignments and documents to agents.
//! - **Invariants**: whatever was answered is durable; only the leader of the newest term sends assignments and writes documents.
//! - **Never**: changes state outside the log, or takes silence for a reason to remove something.

mod access;
mod api;
mod audit;
mod backup;
mod deps;
mod embedded;
mod hub;
mod lead;
mod raft;
mod start;

pub use access::Credentials;
pub use api::openapi;
pub use backup::{Backup, BackupError, Counts, Head};
pub use hub::Service as HubService;
pub use raft::{Member, StoreError};
pub use start::{
    ClusterOptions, Master, Options, Revived, StartError, Survivor, found_cluster, is_encrypted,
    join_cluster, restore_cluster,
};
