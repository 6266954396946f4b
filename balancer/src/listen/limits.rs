//! How many connections there may be: per client address, and in total.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit};

use crate::meter::TurnedAway;

/// Connections of one address.
const PER_ADDRESS: u32 = 1024;
/// Files kept for everything that is no client's connection.
const SPARE: u64 = 512;
/// Most connections, however many files there may be.
const MOST: u64 = 500_000;

/// Counts connections; shared by all data threads.
pub(super) struct Limits {
    total: u32,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

impl Default for Limits {
    fn default() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        // Each may need another one to an origin.
        let total = (files.saturating_sub(SPARE) / 2).clamp(64, MOST);
        Self::new(u32::try_from(total).unwrap_or(u32::MAX))
    }
}

impl Limits {
    fn new(total: u32) -> Self {
        Self {
            total,
            counts: Mutex::default(),
        }
    }

    /// One more connection from `address`; it counts until the answer is dropped.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admitted, TurnedAway> {
        let mut counts = self.lock();
        let ours = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= self.total {
            return Err(TurnedAway::Total);
        }
        if ours >= PER_ADDRESS {
            return Err(TurnedAway::Address);
        }
        counts.all += 1;
        counts.by_address.insert(address, ours + 1);
        Ok(Admitted {
            limits: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that counts.
pub(super) struct Admitted {
    limits: Arc<Limits>,
    address: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.limits.lock();
        counts.all -= 1;
        if let Some(ours) = counts.by_address.get_mut(&self.address) {
            *ours -= 1;
            if *ours == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_everything() {
        let limits = Arc::new(Limits::new(PER_ADDRESS + 1));
        let (greedy, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut held: Vec<_> = (0..PER_ADDRESS).map(|_| limits.admit(greedy)).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(limits.admit(greedy).err(), Some(TurnedAway::Address));
        let last = limits.admit(other);
        assert!(last.is_ok());
        assert_eq!(limits.admit(other).err(), Some(TurnedAway::Total));
        held.clear();
        assert!(limits.admit(greedy).is_ok());
        drop(last);
        assert!(limits.lock().by_address.is_empty());
    }
}
