//! The data plane of one node: listeners, proxying, probes, status.
//!
//! - **Role**: carries end users' requests to healthy instances and tells the agent what it serves, what it judged and what is still open.
//! - **Data in**: upstream documents, one change of one service at a time; which local instances to judge; accepted connections.
//! - **Data out**: proxied requests; readiness per local instance; a report per service; the status document.
//! - **Invariants**: a broken document never replaces a good one; a table is swapped whole; an index is confirmed only when it is
//!   served and on disk; a peer counts as drained only when no request, no session and no older routing phase can still use it.
//!   Handed over to another process it confirms nothing and forgets nothing that one of the two does not, see [`handover`].
//! - **Never**: drops a service because data is missing, holds a lock across an await, lets one request wait for another's routing.

mod access;
mod admin;
mod chance;
pub mod choose;
mod control;
mod farewell;
mod fed;
mod handle;
pub mod handover;
mod http;
mod keep;
mod lastgood;
mod listen;
mod live;
mod local;
mod meter;
pub mod probe;
mod running;
mod start;
mod stream_admin;
mod tcp;

pub use access::{AccessOptions, Lines};
pub use admin::check;
pub use fed::Following;
pub use hancock_balancer_core::health::ProbeResult;
pub use handle::{ApplyError, Counts, Handle};
pub use http::Engine;
pub use local::{LocalCheck, LocalInstance};
pub use running::Balancer;
pub use start::{Options, StartError};
pub use tcp::TcpOptions;
