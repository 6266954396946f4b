//! The rules of this repository that no compiler checks: who may depend on whom, where vendors are named, how tests wait.
//!
//! Each test reads the tree or `cargo metadata` and lists everything that breaks its rule, with the way out.
#![allow(clippy::unwrap_used)]

#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/sources.rs"]
mod sources;
#[path = "tidy/tree.rs"]
mod tree;

/// Fails with every finding on a line of its own.
#[track_caller]
fn none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}
