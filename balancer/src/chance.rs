//! The one place where random numbers are drawn.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
}

/// 64 bits that nobody relies on: xorshift (Marsaglia 2003), each thread from a seed of its own.
pub(crate) fn random() -> u64 {
    STATE.with(|state| {
        let mut bits = state.get() | 1;
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        state.set(bits);
        bits
    })
}
