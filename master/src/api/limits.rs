//! How much the API takes at a time, and for whom it and the hub wait how long: every figure stands here.

use std::time::Duration;

/// Bounds and deadlines of one master towards those who call it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Writes in hand. Four times what the figures in `tests/bench/commits` need for 29,600 writes a second, so 35 ms of work; those of three
    /// masters together are fewer than the keys of writes that are remembered.
    pub(crate) writes: usize,
    /// Reads in hand that ask the leader how far they must be.
    pub(crate) reads: usize,
    /// Requests that stay: for news, logs, a command's output.
    pub(crate) staying: usize,
    /// Reads in hand that wait for nobody: `stale=true`, status, masters, the description.
    pub(crate) local: usize,
    /// Bytes of large bodies in hand: 64 of the largest.
    pub(crate) taken: usize,
    /// Bytes of large answers that were not read yet.
    pub(crate) given: usize,
    /// Open connections. Beyond it the one that was idle for longest makes room.
    pub(crate) connections: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub(crate) streams: u32,
    /// Time for a first request after the handshake, and for any request's head after its first byte.
    pub(crate) head: Duration,
    /// Longest silence within a body.
    pub(crate) body_silence: Duration,
    /// Time for a whole body: 17 KiB a second for the largest.
    pub(crate) body: Duration,
    /// A connection without a request is kept so long.
    pub(crate) idle: Duration,
    /// Time a piece of an answer may wait for its reader.
    pub(crate) reader: Duration,
    /// The same for a command's output: people stop terminals and read page by page.
    pub(crate) session_reader: Duration,
    /// Time a frame of a session may wait for its node.
    pub(crate) node: Duration,
    /// Time between two questions whether an HTTP/2 client is there, and for its answer.
    pub(crate) ping: Duration,
    /// Time to read the last answer when what the client sent is not wanted any more.
    pub(crate) farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            writes: 1024,
            reads: 1024,
            staying: 1024,
            local: 1024,
            taken: 64 << 20,
            given: 256 << 20,
            connections: 4096,
            streams: 100,
            head: Duration::from_secs(10),
            body_silence: Duration::from_secs(10),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(75),
            reader: Duration::from_secs(30),
            session_reader: Duration::from_secs(600),
            node: Duration::from_secs(10),
            ping: Duration::from_secs(20),
            farewell: Duration::from_secs(1),
        }
    }
}
