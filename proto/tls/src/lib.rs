//! The certificates of a cluster: who makes them, who shows them, who believes them.
//!
//! - **Role**: every cluster is its own certificate authority. Masters hold it and sign for themselves and for nodes; tokens carry its
//!   fingerprint, so that the first contact is authenticated and no file must be carried along. Agents and the command line call
//!   [`enroll()`] and [`pinned`]; masters [`Authority`] and [`Door`].
//! - **Data in**: tokens, bytes of connections, the clock. **Data out**: connections of which both ends' [`Name`] is known.
//! - **Invariants**: a token with a fingerprint is never shown to anyone whose certificate the fingerprint does not cover; a server is a
//!   master; TLS is 1.3.
//! - **Never**: looks at host names (masters move, the authority is the cluster's own), or decides what a [`Name`] may do.

mod authority;
mod connect;
mod door;
mod enroll;
mod error;
mod identity;
mod name;
mod party;
mod pin;
mod plain;
mod verify;

pub use authority::{AUTHORITY_LIFETIME, Authority, LIFETIME};
pub use connect::{Conn, Connector, is_distrust};
pub use door::{Caller, Door};
pub use enroll::{enroll, renew};
pub use error::{EnrollError, TlsError};
pub use identity::{Identity, Signed};
pub use name::{Name, Role};
pub use party::{Party, pinned};
pub use pin::Pin;

/// Protocols of gRPC.
pub const GRPC: &[&str] = &["h2"];
/// Protocol of the REST API's clients.
pub const HTTP: &[&str] = &["http/1.1"];
/// Protocols of the REST API.
pub const API: &[&str] = &["h2", "http/1.1"];
