//! The balancer as a whole, on loopback, with real origins.
#![allow(clippy::unwrap_used)]

mod admin;
mod checks;
mod client;
mod cutover;
mod faults;
mod fleet;
mod framed;
mod handover;
mod hostile;
mod inside;
mod lingering;
mod members;
mod metrics;
mod modes;
mod origin;
mod pools;
mod proportion;
mod routing;
mod rules;
mod slow;
mod smuggling;
mod strict;
mod swaps;
mod tcp;
mod world;
