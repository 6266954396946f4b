//! Which history of a store was seen: revisions mean something only within it. A store that was wiped or set back to an older copy begins
//! another one, whose revisions may have overtaken ours by the time we look. Pure.

use serde::{Deserialize, Serialize};

/// What tells one history from another. A reader keeps it over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The store's own name of its cluster.
    pub(crate) cluster: u64,
    /// Where the fence lies. None: there is none, which proves nothing.
    pub(crate) fence: Option<Place>,
    /// The newest write that was seen and not deleted by itself: its key and revision.
    pub(crate) newest: Option<(String, i64)>,
    /// Everything up to this revision was seen.
    pub(crate) seen: i64,
}

/// Revisions of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub(crate) created: i64,
    pub(crate) modified: i64,
}

/// What a store is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) cluster: u64,
    pub(crate) revision: i64,
    pub(crate) fence: Option<Place>,
    /// Where the key of [`Mark::newest`] lies.
    pub(crate) newest: Option<Place>,
}

/// Whether what is found can be a later state of the history that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is one.
    GoesOn,
    /// It cannot be.
    Another,
    /// The newest key is gone: deleted since, or never written here.
    Gone,
    /// Nothing says so, and nothing speaks against it.
    Unproven,
}

impl Mark {
    /// Compares what is found with what was seen up to `position`.
    pub(crate) fn verdict(&self, found: &Found, position: i64) -> Verdict {
        let (other_fence, same_fence) = match (self.fence, found.fence) {
            (Some(before), Some(now)) => {
                let same = before.created == now.created && before.modified <= now.modified;
                (!same, same)
            }
            _ => (false, false),
        };
        let before = self.newest.as_ref().map(|(_, before)| *before);
        let both = before.zip(found.newest);
        let other_key =
            both.is_some_and(|(before, now)| now.modified != before && now.modified <= position);
        let other_store = found.cluster != self.cluster || found.revision < position;
        match () {
            () if other_store || other_fence || other_key => Verdict::Another,
            () if before.is_some() && found.newest.is_none() => Verdict::Gone,
            () if same_fence => Verdict::GoesOn,
            () => Verdict::Unproven,
        }
    }

    /// A later write.
    pub(crate) fn advance(&mut self, key: &[u8], revision: i64) {
        let seen = self.newest.as_ref().map(|(_, seen)| *seen);
        if seen.is_none_or(|seen| seen <= revision) {
            self.newest = Some((String::from_utf8_lossy(key).into_owned(), revision));
        }
        self.seen = self.seen.max(revision);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            cluster: 1,
            fence: place(2, 5),
            newest: Some(("k".to_owned(), 9)),
            seen: 12,
        }
    }

    fn place(created: i64, modified: i64) -> Option<Place> {
        Some(Place { created, modified })
    }

    fn found(cluster: u64, revision: i64, fence: Option<Place>, newest: Option<Place>) -> Found {
        Found {
            cluster,
            revision,
            fence,
            newest,
        }
    }

    #[test]
    fn a_store_is_told_from_another_by_what_contradicts_it() {
        use Verdict::{Another, GoesOn, Gone, Unproven};
        for (what, verdict, found) in [
            ("as it was", GoesOn, found(1, 12, place(2, 5), place(9, 9))),
            (
                "rewritten since",
                GoesOn,
                found(1, 50, place(2, 40), place(9, 41)),
            ),
            (
                "another cluster",
                Another,
                found(2, 50, place(2, 5), place(9, 9)),
            ),
            (
                "another fence",
                Another,
                found(1, 50, place(3, 5), place(9, 9)),
            ),
            (
                "an older fence",
                Another,
                found(1, 50, place(2, 4), place(9, 9)),
            ),
            (
                "an older fence, and the key gone",
                Another,
                found(1, 50, place(2, 4), None),
            ),
            (
                "an older document",
                Another,
                found(1, 50, place(2, 5), place(8, 8)),
            ),
            (
                "written in the past, unseen",
                Another,
                found(1, 50, place(2, 5), place(9, 11)),
            ),
            ("behind", Another, found(1, 11, place(2, 5), place(9, 9))),
            ("the key is gone", Gone, found(1, 50, place(2, 5), None)),
            (
                "the fence is gone",
                Unproven,
                found(1, 50, None, place(9, 9)),
            ),
            ("both are gone", Gone, found(1, 50, None, None)),
        ] {
            assert_eq!(mark().verdict(&found, 12), verdict, "{what}");
        }
    }

    #[test]
    fn the_newest_write_is_kept() {
        let mut mark = mark();
        mark.advance(b"old", 3);
        assert_eq!(mark, self::mark());
        mark.advance(b"new", 20);
        assert_eq!((mark.newest, mark.seen), (Some(("new".to_owned(), 20)), 20));
    }

    #[test]
    fn it_survives_being_written_down() {
        let text = r#"{"cluster":1,"fence":{"created":2,"modified":5},"newest":["k",9],"seen":12}"#;
        assert_eq!(serde_json::to_string(&mark()).unwrap(), text);
        assert_eq!(serde_json::from_str::<Mark>(text).unwrap(), mark());
    }
}
