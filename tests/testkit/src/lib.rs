//! What tests need from the world: ports, waits with a deadline, daemons that end with the test, load, Docker, images.
//!
//! - **Role**: everything here is for tests only; no crate depends on it but as a dev-dependency.
//! - **Data in**: programs to start, conditions to wait for. **Data out**: what happened, in words that explain a failure.
//! - **Invariants**: whatever a test starts is gone when its handle is dropped, also after a panic. Every wait has a deadline and says
//!   what it saw last. What cannot run here is recorded as skipped, never silently passed.
//! - **Never**: sleeps outside [`wait`], ends processes by name, reaches beyond loopback.
// A fixture that cannot do its work ends the test with a clear sentence: panics are this crate's errors.
#![allow(clippy::unwrap_used)]

pub mod certs;
pub mod daemon;
pub mod docker;
pub mod engine;
pub mod etcd;
pub mod fixture;
pub mod history;
pub mod http;
pub mod image;
pub mod load;
pub mod lossy;
pub mod network;
pub mod node;
pub mod paths;
pub mod port;
pub mod proc;
pub mod relay;
pub mod skip;
pub mod systemd;
pub mod tmpfs;
pub mod wait;

pub use daemon::Daemon;
pub use load::{Load, Tally};
pub use port::free_port;
pub use wait::wait_for;
