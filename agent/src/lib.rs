//! Runs containers on one node.
