//! Asking a peer whether it is well: one question, one new connection, one result.

pub mod fake;
mod mysql;
pub(crate) mod net;
mod redis;
pub(crate) mod tasks;

use std::time::Duration;

use async_trait::async_trait;

use hancock_balancer_core::health::ProbeResult;
use hancock_balancer_core::upstream::{Login, ProbeKind};
use hancock_proto::app::{CheckKind, HealthCheck};
use hancock_proto::ids::InstanceId;

/// Asks one peer one question.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Asks, within the probe's own time limit.
    async fn probe(&self, probe: &Probe) -> Answer;
}

/// How a probe ended, and what else it found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What counts.
    pub result: ProbeResult,
    /// What a redis server said of itself.
    pub redis: Option<RedisFacts>,
}

/// What a redis server said of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct RedisFacts {
    /// Its replication, in its own words.
    pub replication: serde_json::Value,
    /// Its version.
    pub version: Option<String>,
}

impl From<ProbeResult> for Answer {
    fn from(result: ProbeResult) -> Self {
        Self {
            result,
            redis: None,
        }
    }
}

/// One question to one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Host or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What is asked.
    pub question: Question,
    /// Time for the whole probe, or for each step of it where a plain document asks.
    pub timeout: Duration,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A connection opens.
    Connect,
    /// `GET path` answers as expected.
    Get {
        /// Path.
        path: String,
        /// Host header.
        host: String,
        /// Good statuses; empty: 200 to 399.
        expect: Vec<u16>,
    },
    /// Raw bytes are answered with a line.
    Raw {
        /// Sent as they are.
        query: Vec<u8>,
        /// The line must be a status line with none of these codes; None: any line will do.
        refused: Option<Vec<u64>>,
    },
    /// A redis server answers `PING`.
    Redis,
    /// A MySQL server accepts a login.
    Mysql(Login),
}

/// Runs the commands of checks inside instances of this node.
#[async_trait]
pub trait Inside: Send + Sync {
    /// Runs one and waits for its end, for `timeout` at most. None: it could not be tried, which says nothing of the instance.
    async fn check(
        &self,
        instance: &InstanceId,
        command: &[String],
        timeout: Duration,
    ) -> Option<ProbeResult>;
}

/// The place of commands among [`crate::meter::KINDS`].
pub(crate) const COMMAND: usize = 4;

impl Question {
    /// Its place among [`crate::meter::KINDS`].
    pub(crate) fn kind(&self) -> usize {
        match self {
            Question::Connect => 0,
            Question::Get { .. } | Question::Raw { .. } => 1,
            Question::Redis => 2,
            Question::Mysql(_) => 3,
        }
    }
}

impl Probe {
    /// The probe of a plain document.
    pub(crate) fn plain(host: &str, port: u16, kind: &ProbeKind, timeout: Duration) -> Self {
        let question = match kind {
            ProbeKind::Connect => Question::Connect,
            ProbeKind::Http { query, refused } => Question::Raw {
                query: query.clone(),
                refused: refused.clone(),
            },
            ProbeKind::Redis => Question::Redis,
            ProbeKind::Mysql(login) => Question::Mysql(login.clone()),
        };
        Self {
            host: host.to_owned(),
            port,
            question,
            timeout,
        }
    }

    /// The probe of a readiness check. Over the network nothing but a connection can stand for a command.
    pub(crate) fn check(host: &str, port: u16, check: &HealthCheck, name: &str) -> Self {
        let question = match check.kind {
            CheckKind::Tcp | CheckKind::Command | CheckKind::None => Question::Connect,
            CheckKind::Http => Question::Get {
                path: check.path.clone().unwrap_or_else(|| "/".to_owned()),
                host: name.to_owned(),
                expect: check.expect.clone(),
            },
        };
        Self {
            host: host.to_owned(),
            port,
            question,
            timeout: check.timeout.duration(),
        }
    }
}
