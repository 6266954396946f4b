//! What will happen, by virtual time; of two at the same time, the one that was put in first.

use std::collections::BTreeMap;

/// The queue.
#[derive(Debug)]
pub struct Queue<E> {
    events: BTreeMap<(u64, u64), E>,
    count: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            events: BTreeMap::new(),
            count: 0,
        }
    }
}

impl<E> Queue<E> {
    /// `event` happens at `time`.
    pub fn put(&mut self, time: u64, event: E) {
        self.count += 1;
        self.events.insert((time, self.count), event);
    }

    /// The next one, with its time.
    pub fn next(&mut self) -> Option<(u64, E)> {
        let ((time, _), event) = self.events.pop_first()?;
        Some((time, event))
    }

    /// Events put in so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}
