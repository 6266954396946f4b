//! The master's core against a small world of nodes: golden scenarios and random histories.

#![allow(clippy::unwrap_used)]
// The tests read scripts and settings; the core itself does not.
#![allow(clippy::disallowed_methods)]

mod comeback;
mod formats;
mod histories;
mod jobs;
mod ports;
mod scenarios;
mod script;
mod snapshots;
mod tables;
mod world;
