//! Generated gRPC code, and nothing else.
//!
//! - **Role**: lets agents and masters, and masters among themselves, speak over HTTP/2 without either side naming the other.
//! - **Data in, data out**: `proto/wire/proto/hub.proto`: frames carry a typed fence and a JSON body of `hancock_proto::hub`;
//!   `proto/wire/proto/peers.proto`: frames name cluster, sender and addressee.
//! - **Invariants**: who speaks for which cluster is readable without parsing a body.
//! - **Never**: holds logic, names a core, or is named by one.
#![allow(missing_docs, unused_qualifications, clippy::all)]

tonic::include_proto!("hancock.hub.v1");

/// Between masters.
pub mod peers {
    tonic::include_proto!("hancock.peers.v1");
}
