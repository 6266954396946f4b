//! What can be wrong with certificates, and the way out.

use hancock_proto::ids::NodeId;

/// A key or a certificate cannot be made or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {deed}: {reason}")]
pub struct TlsError {
    deed: &'static str,
    reason: String,
}

impl TlsError {
    pub(crate) fn new(deed: &'static str, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        Self { deed, reason }
    }
}

/// Why a node has no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrollError {
    /// The token is one of a cluster without certificates.
    #[error(
        "the join token carries no fingerprint, so its cluster was begun without certificates: speak plain to it, or take the token of \
         another cluster"
    )]
    NoFingerprint,
    /// Nobody was named.
    #[error("no master is named; give at least one, like 10.0.0.1:7401")]
    NoMaster,
    /// They answered, and refused or are not believed; trying again does not help.
    #[error("the master at {master} gives node {node} no certificate: {reason}")]
    Refused {
        /// Who was asked.
        master: String,
        /// For whom.
        node: NodeId,
        /// What it said.
        reason: String,
    },
    /// Nobody answered as a master of the cluster does; trying again may help.
    #[error(
        "no master gives node {node} a certificate just now; {master} was asked last: {reason}"
    )]
    Unreachable {
        /// Who was asked last.
        master: String,
        /// For whom.
        node: NodeId,
        /// What happened.
        reason: String,
    },
    /// What was answered is no certificate for this key.
    #[error(transparent)]
    Unusable(#[from] TlsError),
}
