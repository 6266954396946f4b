//! What became of the requests.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Failures kept in detail; more are only counted.
const KEPT: usize = 1000;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Nobody listened.
    Refused,
    /// The connection ended before the answer was complete.
    Broken(String),
    /// No complete answer in time.
    Timeout,
    /// A status other than 2xx.
    Status(u16),
    /// Answered by an instance after its SIGTERM.
    AfterSigterm,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Refused => f.write_str("refused"),
            Cause::Broken(how) => write!(f, "broken ({how})"),
            Cause::Timeout => f.write_str("no complete answer in time"),
            Cause::Status(status) => write!(f, "status {status}"),
            Cause::AfterSigterm => f.write_str("answered after SIGTERM"),
        }
    }
}

/// One failed request.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it was sent.
    pub sent: Instant,
    /// How long it took to fail.
    pub took: Duration,
    /// On a connection of its own.
    pub fresh: bool,
    /// Why.
    pub cause: Cause,
}

/// Counts of one load.
#[derive(Debug, Clone)]
pub struct Tally {
    /// When the load began.
    pub began: Instant,
    /// Requests sent on fresh connections.
    pub fresh: u64,
    /// Requests sent on kept connections.
    pub kept: u64,
    /// Requests that were answered or failed.
    pub ended: u64,
    /// Good answers by their first word.
    pub words: BTreeMap<String, u64>,
    /// Failed requests by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// The first failures in detail.
    pub failures: Vec<Failure>,
    /// The longest a good answer took.
    pub slowest: Duration,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            fresh: 0,
            kept: 0,
            ended: 0,
            words: BTreeMap::new(),
            causes: BTreeMap::new(),
            failures: Vec::new(),
            slowest: Duration::ZERO,
        }
    }

    pub(super) fn sent(&mut self, fresh: bool) {
        *if fresh {
            &mut self.fresh
        } else {
            &mut self.kept
        } += 1;
    }

    pub(super) fn ended(&mut self, sent: Instant, fresh: bool, outcome: Result<String, Cause>) {
        self.ended += 1;
        let took = sent.elapsed();
        match outcome {
            Ok(word) => {
                *self.words.entry(word).or_default() += 1;
                self.slowest = self.slowest.max(took);
            }
            Err(cause) => {
                *self.causes.entry(cause.clone()).or_default() += 1;
                if self.failures.len() < KEPT {
                    self.failures.push(Failure {
                        sent,
                        took,
                        fresh,
                        cause,
                    });
                }
            }
        }
    }

    /// All requests sent.
    pub fn total(&self) -> u64 {
        self.fresh + self.kept
    }

    /// Requests that are not answered yet.
    pub fn open(&self) -> u64 {
        self.total() - self.ended
    }

    /// Failed requests.
    pub fn failed(&self) -> u64 {
        self.causes.values().sum()
    }

    /// Good answers whose first word was `word`.
    pub fn answered(&self, word: &str) -> u64 {
        self.words.get(word).copied().unwrap_or_default()
    }

    /// Requests per second since the load began.
    pub fn rate(&self) -> f64 {
        // Counts stay far below 2^52.
        self.total() as f64 / self.began.elapsed().as_secs_f64().max(0.001)
    }

    /// Ends the test unless every request was answered well.
    ///
    /// # Panics
    /// When one failed or none was sent.
    #[track_caller]
    pub fn assert_none_failed(&self) {
        assert!(self.total() > 0, "no request was sent");
        assert_eq!(self.failed(), 0, "failed requests: {self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests ({} fresh, {} kept), {} failed, answers {:?}, slowest {:.0?}",
            self.total(),
            self.fresh,
            self.kept,
            self.failed(),
            self.words,
            self.slowest
        )?;
        for (cause, count) in &self.causes {
            write!(f, "\n  {count} x {cause}")?;
        }
        for failure in self.failures.iter().take(20) {
            let at = failure.sent.duration_since(self.began);
            let kind = if failure.fresh { "fresh" } else { "kept" };
            write!(
                f,
                "\n  sent at {at:.3?}, {kind}, after {:.0?}: {}",
                failure.took, failure.cause
            )?;
        }
        Ok(())
    }
}
