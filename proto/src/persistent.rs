//! Ordered collections whose clones share everything that is the same: a clone takes a moment whatever is in it, and a change copies only the
//! way to what it changes. As data they are maps, sets and lists like the ones of the standard library.

mod map;
mod recent;
mod set;

pub use map::Map;
pub use recent::Recent;
pub use set::Set;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
