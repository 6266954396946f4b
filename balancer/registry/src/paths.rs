//! Two paths, one index: a balancer hears of a service by the hub and by a registry, and neither may undo what the other brought. Pure.
//!
//! A document is applied unless the other path has a higher index; a name goes when no path has it any more; and a path that is late does
//! not bring back what the other has ended.

use std::collections::BTreeMap;

use hancock_proto::ids::DocIndex;

/// Ended names remembered. Full: the one that ended with the lowest index is forgotten.
pub const MAX_ENDED: usize = 4096;

/// A way documents come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The agent's session with the master.
    Hub,
    /// A registry that is followed.
    Registry,
}

/// What each path has brought.
#[derive(Debug, Default)]
pub struct Paths {
    held: BTreeMap<String, [Option<DocIndex>; 2]>,
    ended: BTreeMap<String, (Path, DocIndex)>,
}

impl Paths {
    /// A document came. Whether it is to be applied.
    pub fn put(&mut self, path: Path, name: &str, index: DocIndex) -> bool {
        let held = self.held.entry(name.to_owned()).or_default();
        held[path as usize] = Some(index);
        let newest = held[path.other() as usize].is_none_or(|other| index >= other);
        let late = self
            .ended
            .get(name)
            .is_some_and(|(by, last)| *by != path && index <= *last);
        if newest && !late {
            self.ended.remove(name);
        }
        newest && !late
    }

    /// The name is gone by this path, where `index` was served. Whether it is to be removed.
    pub fn delete(&mut self, path: Path, name: &str, index: DocIndex) -> bool {
        let held = self.held.remove(name).unwrap_or_default();
        let other = held[path.other() as usize];
        if other.is_some() && !self.ended.contains_key(name) {
            let mut left = [None; 2];
            left[path.other() as usize] = other;
            self.held.insert(name.to_owned(), left);
            return false;
        }
        let index = index.max(held[path as usize].unwrap_or_default());
        self.end(path, name, index);
        true
    }

    fn end(&mut self, path: Path, name: &str, index: DocIndex) {
        if self.ended.contains_key(name) {
            return;
        }
        self.ended.insert(name.to_owned(), (path, index));
        if self.ended.len() > MAX_ENDED {
            let oldest = self.ended.iter().min_by_key(|(_, (_, index))| *index);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.map(|name| self.ended.remove(&name));
        }
    }
}

impl Path {
    fn other(self) -> Self {
        match self {
            Self::Hub => Self::Registry,
            Self::Registry => Self::Hub,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Path::{Hub, Registry};
    use super::*;

    const WEB: &str = "web";

    #[test]
    fn the_higher_index_counts_whoever_brings_it() {
        let mut paths = Paths::default();
        assert!(paths.put(Hub, WEB, DocIndex(5)));
        assert!(paths.put(Registry, WEB, DocIndex(5)), "the same again");
        assert!(paths.put(Registry, WEB, DocIndex(7)));
        assert!(!paths.put(Hub, WEB, DocIndex(6)));
        assert!(!paths.put(Hub, WEB, DocIndex(0)), "somebody else's");
        assert!(paths.put(Hub, WEB, DocIndex(7)));
    }

    #[test]
    fn a_name_goes_when_nobody_has_it() {
        let mut paths = Paths::default();
        paths.put(Hub, WEB, DocIndex(5));
        paths.put(Registry, WEB, DocIndex(5));
        assert!(!paths.delete(Registry, WEB, DocIndex(5)), "the hub has it");
        assert!(paths.delete(Hub, WEB, DocIndex(5)));
        assert!(paths.put(Hub, WEB, DocIndex(8)), "another app's");
    }

    #[test]
    fn a_late_path_does_not_bring_back_what_ended() {
        let mut paths = Paths::default();
        paths.put(Hub, WEB, DocIndex(5));
        assert!(paths.delete(Hub, WEB, DocIndex(5)));
        assert!(!paths.put(Registry, WEB, DocIndex(5)));
        assert!(
            paths.delete(Registry, WEB, DocIndex(5)),
            "not there: nothing"
        );
        assert!(paths.put(Registry, WEB, DocIndex(9)), "begun again");
    }

    #[test]
    fn a_late_removal_does_not_end_what_begun_again() {
        let mut paths = Paths::default();
        paths.put(Hub, WEB, DocIndex(5));
        paths.delete(Hub, WEB, DocIndex(5));
        paths.put(Registry, WEB, DocIndex(5));
        assert!(paths.put(Hub, WEB, DocIndex(9)));
        assert!(!paths.delete(Registry, WEB, DocIndex(9)));
    }

    #[test]
    fn one_path_alone_does_as_it_likes() {
        let mut paths = Paths::default();
        for _ in 0..2 {
            assert!(paths.put(Registry, WEB, DocIndex(0)));
            assert!(paths.delete(Registry, WEB, DocIndex(0)));
        }
    }

    #[test]
    fn what_ended_is_bounded() {
        let mut paths = Paths::default();
        for n in 0..=MAX_ENDED as u64 {
            paths.delete(Hub, &n.to_string(), DocIndex(n));
        }
        assert_eq!(paths.ended.len(), MAX_ENDED);
        assert!(!paths.ended.contains_key("0"));
    }
}
