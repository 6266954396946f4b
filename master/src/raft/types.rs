//! What the Raft library is told about our types.

use std::fmt;
use std::sync::Arc;

use hancock_master_core::{Command, Format, Reply};
use openraft::impls::leader_id_std;
use serde::{Deserialize, Serialize};

use super::member::Member;
use super::runtime::Runtime;

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
#[cfg_attr(
    feature = "next-format",
    serde(into = "next::Written", try_from = "next::Written")
)]
pub(crate) struct Write {
    /// Format.
    pub(crate) v: Format,
    /// The command; shared, because entries are read often and changed never.
    pub(crate) command: Arc<Command>,
    /// The same write tried again has the same key; None: it is carried out as often as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Arc<str>>,
}

impl Write {
    /// A command for a cluster that has agreed on a format.
    pub(crate) fn new(agreed: Format, command: Command, key: Option<Arc<str>>) -> Self {
        Self {
            v: command.written_in(agreed),
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

/// Rehearsal of a format change, in builds for tests only: in format 2 the command is spelled `deed`, which no version before reads.
#[cfg(feature = "next-format")]
mod next {
    use super::{Arc, Command, Deserialize, Format, Serialize, Write};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Written {
        v: Format,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<Arc<Command>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deed: Option<Arc<Command>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
    }

    impl From<Write> for Written {
        fn from(write: Write) -> Self {
            let Write { v, command, key } = write;
            let (command, deed) = match v.is_first() {
                true => (Some(command), None),
                false => (None, Some(command)),
            };
            Self {
                v,
                command,
                deed,
                key,
            }
        }
    }

    impl TryFrom<Written> for Write {
        type Error = String;

        fn try_from(written: Written) -> Result<Self, String> {
            let Written {
                v,
                command,
                deed,
                key,
            } = written;
            let command = if v.is_first() { command } else { deed };
            let command =
                command.ok_or_else(|| format!("an entry of format {v} has no command"))?;
            Ok(Self { v, command, key })
        }
    }
}
