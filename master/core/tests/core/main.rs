//! The master's core against a small world of nodes: golden scenarios and random histories.

#![allow(clippy::unwrap_used)]

mod histories;
mod scenarios;
mod script;
mod snapshots;
mod world;
