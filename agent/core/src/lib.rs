//! What one node should do next; pure.
//!
//! - **Role**: turns what the master wants ([`hancock_proto::assignment::Assignment`]) and what the runtime shows
//!   ([`observed::Observed`]) into deeds for the runtime and facts for the master.
//! - **Data in**: assignments, lists of containers, outcomes of deeds, the time. **Data out**: [`reconcile::Plan`].
//! - **Invariants**: an instance is never started while it runs or while a start of it is under way; what is wanted is never stopped;
//!   of those that write to a volume with a single writer one runs at a time;
//!   the first restart comes at once, as long as few start; only containers of this cluster and node are touched; nothing is removed because data is missing.
//! - **Never**: waits, reads a clock, draws a random number, opens anything.

pub mod environment;
pub mod images;
pub mod instance;
pub mod liveness;
pub mod node;
pub mod observed;
pub mod ports;
pub mod reconcile;
pub mod retention;
pub mod search;
pub mod session;
pub mod throttle;
mod writers;
