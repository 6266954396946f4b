//! What the Raft library is told about our types.

use std::fmt;
use std::sync::Arc;

use hancock_master_core::{Command, Reply};
use openraft::impls::leader_id_std;
use serde::{Deserialize, Serialize};

use super::member::Member;
use super::runtime::Runtime;

/// Format of commands this version writes.
pub(crate) const COMMAND_FORMAT: u32 = 1;

openraft::declare_raft_types!(
    /// One leader per term (`leader_id_std`): cluster and term are the registry's fence, so two leaders must never share a term.
    pub(crate) Types:
        D = Write,
        R = Answer,
        NodeId = u64,
        Node = Member,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = Runtime,
);

pub(crate) type Entry = <Types as openraft::RaftTypeConfig>::Entry;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type Membership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Vec<u8>>;

/// A command with the format it is written in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Write {
    /// Format.
    pub(crate) v: u32,
    /// The command; shared, because entries are read often and changed never.
    pub(crate) command: Arc<Command>,
    /// The same write tried again has the same key; None: it is carried out as often as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Arc<str>>,
}

impl Write {
    pub(crate) fn new(command: Command, key: Option<Arc<str>>) -> Self {
        Self {
            v: COMMAND_FORMAT,
            command: Arc::new(command),
            key,
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of format {} at {}", self.v, self.command.at())
    }
}

/// What applying an entry answers; None for entries of Raft's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer(pub(crate) Option<Reply>);
