//! The newest of what comes along.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Map;

/// A list that grows at its end and is cut at its beginning.
#[derive(Clone)]
pub struct Recent<T> {
    /// By number in the order of coming.
    items: Map<u64, T>,
    /// Number of the next one.
    next: u64,
}

impl<T> Recent<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.items.values()
    }
}

impl<T: Clone> Recent<T> {
    /// Adds the newest.
    pub fn push(&mut self, item: T) {
        self.items.insert(self.next, item);
        self.next += 1;
    }

    /// Takes the oldest out, when there are more than `most`.
    pub fn excess(&mut self, most: usize) -> Option<T> {
        let oldest = self.items.first().filter(|_| self.len() > most)?;
        let number = *oldest.0;
        self.items.remove(&number)
    }

    /// Takes all of them out.
    pub fn clear(&mut self) {
        self.items = Map::new();
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            items: Map::new(),
            next: 0,
        }
    }
}

/// Numbers do not count: they are not stored.
impl<T: PartialEq> PartialEq for Recent<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<T: fmt::Debug> fmt::Debug for Recent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Clone> FromIterator<T> for Recent<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut recent = Self::default();
        for item in all {
            recent.push(item);
        }
        recent
    }
}

impl<T: Serialize> Serialize for Recent<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Clone + Deserialize<'de>> Deserialize<'de> for Recent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::<T>::deserialize(deserializer)?;
        Ok(all.into_iter().collect())
    }
}
