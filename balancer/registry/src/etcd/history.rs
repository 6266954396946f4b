//! What was last seen of a store, and whether what is found there now can be a later state of it.

use std::collections::BTreeMap;

use etcd_client::{Error, GetOptions};
use hancock_proto::registry::Fence;
use hancock_proto::service::ServiceName;

use super::Etcd;
use super::calls::Failure;
use crate::mark::{Mark, Verdict};

/// What was last seen of a store.
#[derive(Debug, Default)]
pub(super) struct History {
    /// None: nothing was seen yet.
    pub(super) mark: Option<Mark>,
    /// The mark is an earlier run's, and was not compared with anything yet.
    pub(super) recalled: bool,
    /// Revision of each document's last write that was seen.
    pub(super) written: BTreeMap<ServiceName, i64>,
    /// The fence that ruled when last looked.
    pub(super) fence: Option<Fence>,
    /// The revision of a list that no watch has gone on from yet.
    pub(super) listed: Option<i64>,
    /// The store's history is not the one that was seen; the next list says so.
    pub(super) another: bool,
}

impl Etcd {
    /// Whether what follows `position` in the store follows what was seen here.
    pub(super) async fn is_resumable(&self, position: i64) -> Result<bool, Failure> {
        let (mark, listed) = {
            let mut history = self.history();
            (history.mark.clone(), history.listed.take())
        };
        let Some(mark) = mark else {
            // Etcd itself would wait for a revision of the future, silently.
            let found = self.looks(None).await?;
            self.history().another |= position > found.revision;
            return Ok(position <= found.revision);
        };
        let verdict = self.compare(&mark, position).await?;
        self.history().another |= verdict == Verdict::Another;
        Ok(match verdict {
            Verdict::GoesOn => true,
            // Just listed, and without a fence to know it by: otherwise such a store would be listed for ever.
            Verdict::Unproven => listed == Some(position) && mark.fence.is_none(),
            Verdict::Another | Verdict::Gone => false,
        })
    }

    /// Before the first list: whether the store is still the one that an earlier run has seen.
    pub(super) async fn compare_recalled(&self) -> Result<(), Failure> {
        let recalled = {
            let history = self.history();
            history.mark.clone().filter(|_| history.recalled)
        };
        let Some(mark) = recalled else {
            return Ok(());
        };
        let another = self.compare(&mark, mark.seen).await? == Verdict::Another;
        if another {
            tracing::warn!(
                "the registry was wiped or set back while this reader was away; what it lacks stays served"
            );
        }
        self.history().another |= another;
        Ok(())
    }

    async fn compare(&self, mark: &Mark, position: i64) -> Result<Verdict, Failure> {
        let newest = mark.newest.as_ref();
        let found = self.looks(newest.map(|(key, _)| key.as_str())).await?;
        match (mark.verdict(&found, position), newest) {
            (Verdict::Gone, Some((key, revision))) => self.past(key, *revision).await,
            (verdict, _) => Ok(verdict),
        }
    }

    /// A key that is gone was deleted, or never written in this history: its past tells, for as long as the store keeps that.
    async fn past(&self, key: &str, revision: i64) -> Result<Verdict, Failure> {
        let options = GetOptions::new().with_keys_only().with_revision(revision);
        let deadline = self.calls.timing().call;
        let found = self.calls.call(deadline, |connection| async move {
            match connection.kv().get(key, Some(options)).await {
                Ok(found) => Ok(Some(found)),
                Err(error) if matches!(Failure::of(&error), Failure::Compacted) => Ok(None),
                Err(error) => Err::<_, Error>(error),
            }
        });
        Ok(match found.await? {
            Some(found) if found.kvs().iter().any(|kv| kv.mod_revision() == revision) => {
                Verdict::GoesOn
            }
            Some(_) => Verdict::Another,
            None => Verdict::Gone,
        })
    }
}
