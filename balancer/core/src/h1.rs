//! HTTP/1.1 of the plain case, in the bytes that came: what of a request goes on to its origin, what of an answer goes back, and where
//! its body ends. Nothing is copied that goes on as it is, and nothing is kept but counts.
//!
//! A request comes here behind the filter ([`crate::head`]), so its head is whole and means one thing only. Answers come from anybody:
//! what a client could understand in two ways is a bad answer.

mod answer;
mod body;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Framing, Own, read};
pub use body::Body;
pub use request::Request;
