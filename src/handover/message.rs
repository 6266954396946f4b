//! What is said during a hand-over.

use std::path::PathBuf;

use hancock_balancer::handover::{Change, Found, Known, Tail};
use serde::{Deserialize, Serialize};

/// Version of the words below and their order. Two processes of different versions do not hand over.
pub const FORMAT: u32 = 1;

/// From whoever asks a daemon for its upgrade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// What is to be started; None: what the daemon was started from, as it is now.
    pub binary: Option<PathBuf>,
    /// Milliseconds it may take until it is there, and again until it serves.
    pub timeout_ms: u64,
    /// Milliseconds that sessions of the former process may last then.
    pub drain_ms: u64,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Another process serves.
    Done {
        /// Its process id.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// The same one serves as before.
    Failed {
        /// Why.
        problem: String,
    },
}

/// From the process that takes over.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromNext {
    /// It was started, and understands its configuration.
    Hello {
        /// Its [`FORMAT`].
        format: u32,
        /// `agent` or `balancer`.
        command: String,
        /// Its version.
        #[serde(default)]
        version: String,
    },
    /// It can serve: it has all sockets, and the last known good documents. It accepts when it is told to.
    Serving,
    /// It was told so, and begins to accept.
    Accepting,
    /// Sets it switched to.
    Changes(Vec<Change>),
    /// It was asked to stop, and so is the former process.
    Stop,
}

impl FromNext {
    /// Of this process, which runs as `command`.
    pub fn hello(command: &str) -> Self {
        Self::Hello {
            format: FORMAT,
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// From the process that hands over.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromFormer {
    /// Listening sockets, by their names; they come with the message.
    Sockets(Vec<String>),
    /// Everything else; the lock of the data directory comes with the message.
    State {
        /// What probes know.
        known: Box<Known>,
        /// What is open.
        tail: Tail,
        /// Processes before it that have not ended.
        before: Vec<u32>,
    },
    /// The next process may accept; this one stops when it hears that that one does.
    Yours,
    /// To a process that found this one after its next was gone: what is open.
    Found {
        /// This process.
        pid: u32,
        /// What is open.
        found: Box<Found>,
        /// Processes before it that have not ended.
        before: Vec<u32>,
    },
    /// From then on, again and again.
    Tail {
        /// What is still open.
        tail: Tail,
        /// Processes before it that have not ended.
        before: Vec<u32>,
    },
}
