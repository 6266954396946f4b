//! Which history of a store was seen: revisions mean something only within it. A store that was wiped or set back to an older copy begins
//! another one, whose revisions may have overtaken ours by the time we look.

use std::collections::BTreeMap;

use hancock_proto::registry::Fence;
use hancock_proto::service::ServiceName;

/// What was last seen of a store.
#[derive(Debug, Default)]
pub(super) struct History {
    /// None: nothing was seen yet.
    pub(super) mark: Option<Mark>,
    /// Revision of each document's last write that was seen.
    pub(super) written: BTreeMap<ServiceName, i64>,
    /// The fence that ruled when last looked.
    pub(super) fence: Option<Fence>,
    /// The revision of a list that no watch has gone on from yet.
    pub(super) listed: Option<i64>,
    /// The store's history is not the one that was seen; the next list says so.
    pub(super) another: bool,
}

/// What tells one history from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Etcd's own name of its cluster.
    pub(super) cluster: u64,
    /// Where the fence lies. None: there is none, which proves nothing.
    pub(super) fence: Option<Place>,
    /// The newest write that was seen, and its key.
    pub(super) newest: Option<(Vec<u8>, i64)>,
}

/// Revisions of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) created: i64,
    pub(super) modified: i64,
}

impl Mark {
    /// Whether a store in which the fence lies at `fence` and [`Mark::newest`] at `newest` can be a later state of this history, seen up to
    /// `position`.
    pub(super) fn goes_on(
        &self,
        cluster: u64,
        fence: Option<Place>,
        newest: Option<Place>,
        position: i64,
    ) -> bool {
        let (Some(before), Some(now)) = (self.fence, fence) else {
            return false;
        };
        let same_fence = before.created == now.created && before.modified <= now.modified;
        let same_key = self.newest.as_ref().is_none_or(|(_, before)| {
            newest.is_some_and(|now| now.modified == *before || now.modified > position)
        });
        cluster == self.cluster && same_fence && same_key
    }

    /// Whether such a store can be no later state of this history at all. A newest key that is gone says nothing: it may have been deleted.
    pub(super) fn contradicts(
        &self,
        cluster: u64,
        fence: Option<Place>,
        newest: Option<Place>,
        position: i64,
    ) -> bool {
        let other_fence = match (self.fence, fence) {
            (Some(before), Some(now)) => {
                before.created != now.created || now.modified < before.modified
            }
            _ => false,
        };
        let before = self.newest.as_ref().map(|(_, before)| *before);
        let other_key = before
            .zip(newest)
            .is_some_and(|(before, now)| now.modified != before && now.modified <= position);
        cluster != self.cluster || other_fence || other_key
    }

    /// A later write.
    pub(super) fn advance(&mut self, key: &[u8], revision: i64) {
        if self
            .newest
            .as_ref()
            .is_none_or(|(_, seen)| *seen <= revision)
        {
            self.newest = Some((key.to_vec(), revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            cluster: 1,
            fence: place(2, 5),
            newest: Some((b"k".to_vec(), 9)),
        }
    }

    fn place(created: i64, modified: i64) -> Option<Place> {
        Some(Place { created, modified })
    }

    #[test]
    fn a_store_that_went_on_is_known() {
        assert!(mark().goes_on(1, place(2, 5), place(9, 9), 9));
        assert!(
            mark().goes_on(1, place(2, 40), place(9, 41), 9),
            "rewritten"
        );
    }

    #[test]
    fn another_store_is_told_apart() {
        let fits = |cluster, fence, newest| mark().goes_on(cluster, fence, newest, 12);
        assert!(fits(1, place(2, 5), place(9, 9)));
        assert!(!fits(2, place(2, 5), place(9, 9)), "another cluster");
        assert!(!fits(1, place(3, 5), place(9, 9)), "another fence");
        assert!(!fits(1, place(2, 4), place(9, 9)), "an older fence");
        assert!(!fits(1, None, place(9, 9)), "no fence");
        assert!(!fits(1, place(2, 5), place(9, 8)), "an older document");
        assert!(
            !fits(1, place(2, 5), place(9, 11)),
            "written in the past, unseen"
        );
        assert!(!fits(1, place(2, 5), None), "gone: the list tells why");
    }

    #[test]
    fn what_only_cannot_be_proven_is_no_contradiction() {
        let other = |cluster, fence, newest| mark().contradicts(cluster, fence, newest, 12);
        for (cluster, fence, newest) in [
            (1, place(2, 5), place(9, 9)),
            (1, place(2, 40), place(9, 41)),
            (1, place(2, 5), None),
            (1, None, None),
        ] {
            assert!(!other(cluster, fence, newest), "{fence:?} {newest:?}");
        }
        for (cluster, fence, newest) in [
            (2, place(2, 5), place(9, 9)),
            (1, place(3, 5), place(9, 9)),
            (1, place(2, 4), None),
            (1, place(2, 5), place(9, 8)),
            (1, place(2, 5), place(9, 11)),
        ] {
            assert!(other(cluster, fence, newest), "{fence:?} {newest:?}");
        }
    }

    #[test]
    fn the_newest_write_is_kept() {
        let mut mark = mark();
        mark.advance(b"old", 3);
        assert_eq!(mark, self::mark());
        mark.advance(b"new", 10);
        assert_eq!(mark.newest, Some((b"new".to_vec(), 10)));
    }
}
