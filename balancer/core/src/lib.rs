//! Chooses a peer for each request, judges peers, and decides when a service may switch to a new document. Pure.
//!
//! - **Role**: the balancer's decisions. The shell (`hancock-balancer`) accepts, dials, probes and writes; everything it has to decide
//!   is decided here.
//! - **Data in**: upstream documents, probe results, failures, the time. **Data out**: a peer, a verdict, steps to carry out, reports.
//! - **Invariants**: a [`table::View`] never changes after it was built, but for its peers' own states; a document is validated before
//!   it can be served; a peer that may still be picked by anybody never counts as drained.
//! - **Never**: waits, reads a clock, draws a random number, opens anything. The picker's locks are short and never nested.

pub mod cutover;
pub mod drain;
pub mod framed;
pub mod frames;
pub mod h1;
pub mod head;
pub mod health;
pub mod key;
pub mod latency;
pub mod least;
pub mod maglev;
pub mod overlap;
pub mod p2c;
pub mod passive;
pub mod peer;
pub mod pick;
pub mod ramp;
pub mod retry;
pub mod ring;
pub mod settings;
pub mod stay;
pub mod table;
pub mod upstream;
pub mod wrr;
