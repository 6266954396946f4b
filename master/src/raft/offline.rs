//! The log of a master that does not run: read to its end, or begun anew from a state that comes from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use openraft::Membership;

use super::error::StoreError;
use super::files::{Disk, Files};
use super::log;
use super::machine::{self, Applied, Machine};
use super::member::Member;
use super::types::{LogId, SnapshotMeta, Vote};

/// What a stopped master has.
pub(crate) struct Stopped {
    /// The state after every entry of its log, whether the others had it or not.
    pub(crate) applied: Applied,
    /// The highest term it has promised anybody to take part in.
    pub(crate) term: u64,
}

/// Where a log begins that has no entries before it.
pub(crate) struct Beginning {
    /// Of its only voter.
    pub(crate) id: u64,
    pub(crate) member: Member,
    /// Higher than any term that its agents may have heard of.
    pub(crate) term: u64,
}

impl Stopped {
    /// Reads the log in `folder`; cuts off nothing but what a crash has left of a write.
    ///
    /// # Errors
    /// The log or the snapshot is damaged, or of a newer format.
    pub(crate) fn read(folder: &Path) -> Result<Self, StoreError> {
        let files: Arc<dyn Files> = Arc::new(open(folder)?);
        let (entries, vote) = log::read(&*files)?;
        let shared = Machine::open(files)?.shared();
        let mut applied = Applied::clone(&shared.newest());
        let known = applied.last.map_or(0, |id| id.index + 1);
        for (_, entry) in entries.into_iter().skip_while(|(index, _)| *index < known) {
            machine::apply(&mut applied, entry);
        }
        let term = applied.last.map_or(0, |id| id.leader_id.term);
        let voted = vote.map_or(0, |vote| vote.leader_id.term);
        Ok(Self {
            applied,
            term: term.max(voted),
        })
    }

    /// Index of the newest entry.
    pub(crate) fn index(&self) -> u64 {
        self.applied.last.map_or(0, |id| id.index)
    }

    /// The masters, as the newest entry about them says.
    pub(crate) fn members(&self) -> BTreeMap<u64, Member> {
        let nodes = self.applied.membership.nodes();
        nodes.map(|(id, member)| (*id, member.clone())).collect()
    }

    /// Ids of those that vote.
    pub(crate) fn voters(&self) -> BTreeSet<u64> {
        self.applied.membership.voter_ids().collect()
    }
}

/// Puts a log into the empty `folder` that begins after `applied`. The master elects itself when it starts.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn begin(
    folder: &Path,
    mut applied: Applied,
    beginning: Beginning,
) -> Result<(), StoreError> {
    let files = open(folder)?;
    let Beginning { id, member, term } = beginning;
    let at = openraft::LogId {
        leader_id: openraft::vote::leader_id_std::CommittedLeaderId::new(term),
        index: applied.state.applied.0,
    };
    let members = Membership::new(vec![BTreeSet::from([id])], BTreeMap::from([(id, member)]));
    let members = members.map_err(|e| failed("begin", &files, std::io::Error::other(e)))?;
    applied.last = Some(at);
    applied.membership = super::types::Membership::new(Some(at), members);
    write(&files, &applied, at, &Vote::new(term, id)).map_err(|e| failed("write", &files, e))
}

fn write(files: &dyn Files, applied: &Applied, at: LogId, vote: &Vote) -> std::io::Result<()> {
    let meta = SnapshotMeta {
        last_log_id: Some(at),
        last_membership: applied.membership.clone(),
    };
    machine::write_snapshot(files, &meta, &machine::encode(applied)?)?;
    log::write_vote(files, vote)
}

fn failed(deed: &'static str, files: &dyn Files, error: std::io::Error) -> StoreError {
    StoreError::io(deed, files.path(""), error)
}

fn open(folder: &Path) -> Result<Disk, StoreError> {
    Disk::open(folder).map_err(|e| StoreError::io("open the folder", folder.to_owned(), e))
}
