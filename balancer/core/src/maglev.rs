//! Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4): every server has
//! its own order of preference over the slots of a table; servers take turns, by weight, and take the first free slot of their order. Keys
//! are spread almost evenly, and hardly one moves that has not to.

mod cache;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::key::{mix, name};

pub use cache::Tables;

/// Slots of a table: a prime, the paper's own choice. It is the same for every table: with another one all keys would move.
pub const SLOTS: usize = 65_537;
/// Most servers of a level: each has at least some sixty slots, if they weigh the same.
pub const MAX_SERVERS: usize = 1000;
/// Most tables of a document: 64 KiB each up to 256 servers, 128 KiB beyond.
pub const MAX_TABLES: usize = 16;

const FREE: u16 = u16::MAX;

/// The slots of one level.
#[derive(Debug)]
pub struct Maglev {
    slots: Slots,
    /// Slots of each server.
    held: Box<[u32]>,
}

/// Whose each slot is. Few servers, few bytes.
#[derive(Debug)]
enum Slots {
    Narrow(Box<[u8]>),
    Wide(Box<[u16]>),
}

impl Maglev {
    /// A table over servers given by name and weight, at most [`MAX_SERVERS`]. Their order does not matter.
    pub fn new<'a>(servers: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let mut turns = Turns::new(servers);
        let (mut slots, mut held) = (vec![FREE; SLOTS], vec![0u32; turns.servers.len()]);
        // Without servers there are no turns.
        for _ in 0..SLOTS {
            let Some((server, preferences)) = turns.next() else {
                break;
            };
            let free = preferences.find(|slot| slots[*slot] == FREE);
            slots[free] = server as u16;
            held[server] += 1;
        }
        let slots = if held.len() <= 256 {
            Slots::Narrow(slots.into_iter().map(|server| server as u8).collect())
        } else {
            Slots::Wide(slots.into())
        };
        let held = held.into();
        Self { slots, held }
    }

    /// The server of the key's slot; where it is not available, of the next slots, so that its keys are spread over all others.
    pub fn find(&self, hash: u64, available: impl Fn(usize) -> bool) -> Option<usize> {
        let home = (hash % SLOTS as u64) as usize;
        if !self.held.is_empty() && available(self.server(home)) {
            return Some(self.server(home));
        }
        let mut candidates = (0..self.held.len()).filter(|server| available(*server));
        let last_resort = candidates.next()?;
        let mut candidates = candidates.chain([last_resort]);
        if !candidates.any(|server| self.held[server] > 0) {
            return Some(last_resort);
        }
        let slots = (home + 1..SLOTS).chain(0..home);
        slots
            .map(|slot| self.server(slot))
            .find(|server| available(*server))
            .or(Some(last_resort))
    }

    /// Slots of a server, of [`SLOTS`].
    pub fn held(&self, server: usize) -> u32 {
        self.held[server]
    }

    fn server(&self, slot: usize) -> usize {
        match &self.slots {
            Slots::Narrow(slots) => usize::from(slots[slot]),
            Slots::Wide(slots) => usize::from(slots[slot]),
        }
    }
}

/// A server's order of preference: `offset`, `offset + skip`, … over a prime number of slots, which meets every slot once.
struct Preferences {
    next: usize,
    skip: usize,
}

impl Preferences {
    fn new(server: &str) -> Self {
        let hash = name(server);
        Self {
            next: (hash % SLOTS as u64) as usize,
            skip: (mix(hash ^ 1) % (SLOTS as u64 - 1)) as usize + 1,
        }
    }

    /// The next slot for which `free` holds: one does, as long as there is one.
    fn find(&mut self, free: impl Fn(&usize) -> bool) -> usize {
        loop {
            let slot = self.next;
            self.next = (slot + self.skip) % SLOTS;
            if free(&slot) {
                return slot;
            }
        }
    }
}

/// Who takes the next slot: a server of weight w has its turns at the times 1/w, 2/w, 3/w…
struct Turns {
    servers: Vec<(Preferences, f64)>,
    /// Bits of the time (a positive f64 sorts as its bits do), place among the sorted names, server, turns taken.
    queue: BinaryHeap<Reverse<(u64, usize, usize, u32)>>,
}

impl Turns {
    fn new<'a>(servers: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let servers: Vec<(&str, f64)> = servers.collect();
        let heaviest = servers.iter().map(|(_, w)| *w).fold(0.0, f64::max);
        let mut sorted: Vec<usize> = (0..servers.len()).collect();
        sorted.sort_by_key(|server| servers[*server].0);
        // Relative to the heaviest, so that no quotient overflows; without any weight all weigh the same.
        let weight = |w: f64| if heaviest > 0.0 { w / heaviest } else { 1.0 };
        let mut turns = Self {
            servers: servers
                .iter()
                .map(|(server, w)| (Preferences::new(server), weight(*w)))
                .collect(),
            queue: BinaryHeap::with_capacity(sorted.len()),
        };
        for (place, server) in sorted.into_iter().enumerate() {
            turns.enqueue(place, server, 0);
        }
        turns
    }

    fn enqueue(&mut self, place: usize, server: usize, taken: u32) {
        let weight = self.servers[server].1;
        if weight > 0.0 {
            let time = f64::from(taken + 1) / weight;
            self.queue
                .push(Reverse((time.to_bits(), place, server, taken)));
        }
    }

    fn next(&mut self) -> Option<(usize, &mut Preferences)> {
        let Reverse((_, place, server, taken)) = self.queue.pop()?;
        self.enqueue(place, server, taken + 1);
        Some((server, &mut self.servers[server].0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(servers: &[(&str, f64)]) -> Maglev {
        Maglev::new(servers.iter().copied())
    }

    #[test]
    fn nobody_is_found_where_nobody_is() {
        assert_eq!(table(&[]).find(7, |_| true), None);
        assert_eq!(table(&[("a:1", 1.0)]).find(7, |_| false), None);
    }

    #[test]
    fn without_weight_a_server_is_the_last_resort() {
        let table = table(&[("a:1", 0.0), ("b:1", 3.0)]);
        assert_eq!((table.held(0), table.held(1)), (0, SLOTS as u32));
        assert!((0..100).all(|hash| table.find(hash, |_| true) == Some(1)));
        assert_eq!(table.find(7, |server| server == 0), Some(0));
        let weightless = self::table(&[("a:1", 0.0), ("b:1", 0.0)]);
        assert_eq!(weightless.held(0) + weightless.held(1), SLOTS as u32);
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let one = table(&[("a:1", 1.0), ("b:1", 2.0), ("c:1", 1.0)]);
        let other = table(&[("c:1", 1.0), ("a:1", 1.0), ("b:1", 2.0)]);
        let there = [1, 2, 0];
        assert!((0..SLOTS).all(|slot| there[one.server(slot)] == other.server(slot)));
    }

    #[test]
    fn odd_weights_and_many_servers_do_no_harm() {
        let names: Vec<String> = (0..MAX_SERVERS).map(|n| format!("10.0.0.1:{n}")).collect();
        let weights = [f64::MAX, f64::MIN_POSITIVE, 1.0, 0.0];
        let weights = weights.into_iter().chain(std::iter::repeat(1e300));
        let table = Maglev::new(names.iter().map(String::as_str).zip(weights));
        let all: u32 = (0..MAX_SERVERS).map(|server| table.held(server)).sum();
        assert_eq!(all, SLOTS as u32);
        assert_eq!(table.find(9, |server| server == 1), Some(1));
    }
}
