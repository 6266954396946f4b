//! Every format that crosses a process boundary, and the words all parts share.
//!
//! - **Role**: one vocabulary for command line, master, agent and balancer. Agent and master never see each other, only this crate.
//! - **Data in**: app specs as JSON values, documents, messages. **Data out**: types that are valid once they exist.
//! - **Invariants**: canonical JSON of a type reads back to the same value; maps are ordered, so equal values have equal bytes.
//! - **Never**: waits, opens anything or draws randomness. The only clock is [`time::SystemClock`], which shells alone may use.

pub mod api;
pub mod app;
pub mod ask;
pub mod assignment;
pub mod event;
pub mod exec;
pub mod hub;
pub mod ids;
pub mod persistent;
pub mod ports;
pub mod registry;
pub mod report;
pub mod resources;
pub mod service;
pub mod template;
pub mod time;
pub mod units;
pub mod upstream;
pub mod zone;
