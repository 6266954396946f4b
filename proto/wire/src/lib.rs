//! Generated gRPC code, and nothing else.
//!
//! - **Role**: lets agents and masters speak over HTTP/2 without either side naming the other.
//! - **Data in, data out**: `proto/wire/proto/hub.proto`; frames carry a typed fence and a JSON body of `hancock_proto::hub`.
//! - **Invariants**: a frame's fence is readable without parsing its body.
//! - **Never**: holds logic, names a core, or is named by one.
#![allow(missing_docs, unused_qualifications, clippy::all)]

tonic::include_proto!("hancock.hub.v1");
