//! Raft, leader loop, API and hub.
