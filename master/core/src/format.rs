//! The format of commands and snapshots: which ones this version knows, and how a cluster gets to the next.
//!
//! Every version reads all formats up to its newest and writes whichever the cluster has agreed on: the newest one that every master
//! knows. So masters of two versions understand each other for as long as an upgrade takes, and until its end each can go back.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A format. Absent where it is stored or told: the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Format(pub u32);

impl Format {
    /// The one every version knows.
    pub const FIRST: Self = Self(1);
    /// The newest one this version knows. Whoever raises it adds samples written in the one before, and goes on writing that one.
    // The feature rehearses such a raise, in builds for tests only.
    pub const NEWEST: Self = Self(if cfg!(feature = "next-format") { 2 } else { 1 });

    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Whether this version reads it.
    pub fn is_known(self) -> bool {
        self <= Self::NEWEST
    }

    /// Whether it need not be written.
    pub fn is_first(&self) -> bool {
        *self == Self::FIRST
    }
}

impl Default for Format {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
