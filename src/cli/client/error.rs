//! What can go wrong between command line and master, in words that say what to do.

use std::error::Error;
use std::fmt::{self, Display, Write as _};

use hancock_proto::api::ApiError;
use hancock_proto::time::Timestamp;
use reqwest::Url;

use crate::cli::exit;

/// The words for an answer that does not come.
pub(super) const LATE: &str = "no answer in time";

/// How many milliseconds a clock is ahead that said `date` (of HTTP, in whole seconds) somewhen between two times of ours.
pub(super) fn ahead(date: &str, begun: Timestamp, ended: Timestamp) -> Option<i64> {
    let said = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let ours = begun.0.checked_add(ended.0)? / 2;
    let within = said.as_millisecond().checked_add(500)?;
    within.checked_sub(i64::try_from(ours).ok()?)
}

/// Why the master did not do what was asked.
#[derive(Debug)]
pub enum ClientError {
    /// The address is not one.
    Address {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token may only be shown over TLS, and the address is a plain one.
    NotEncrypted {
        /// The master's address.
        url: String,
    },
    /// Nobody answers there.
    Unreachable {
        /// The master's address.
        url: String,
        /// The innermost cause, like "connection refused".
        reason: String,
    },
    /// A master answers but no leader is elected.
    NoLeader {
        /// The master's address.
        url: String,
        /// Its words.
        message: String,
    },
    /// A master answers and has too much in hand; nothing was done.
    Busy {
        /// The master's address.
        url: String,
        /// Its words.
        message: String,
    },
    /// Nobody answers where a balancer was named.
    Balancer {
        /// Its address.
        at: String,
        /// The option that names it.
        flag: String,
        /// The innermost cause.
        reason: String,
    },
    /// The master understood and refused.
    Refused(ApiError),
    /// Something answers, but not as a master of this version does.
    Reply {
        /// What was asked.
        url: String,
        /// What is odd about the answer.
        reason: String,
    },
}

impl ClientError {
    pub(super) fn address(url: &str, reason: &impl Display) -> Self {
        Self::Address {
            url: url.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn unreachable(url: String, source: reqwest::Error) -> Self {
        let reason = match source.is_timeout() {
            true => LATE.to_owned(),
            false => innermost(&source),
        };
        Self::Unreachable { url, reason }
    }

    /// What to say of masters of which none could be reached.
    pub(super) fn all_unreachable(each: Vec<Self>) -> Self {
        let parts = each.into_iter().filter_map(|error| match error {
            Self::Unreachable { url, reason } => Some((url, reason)),
            _ => None,
        });
        let (urls, reasons): (Vec<String>, Vec<String>) = parts.unzip();
        let first = reasons.first().cloned().unwrap_or_default();
        let reason = match reasons.iter().all(|reason| *reason == first) {
            true => first,
            false => reasons.join(", "),
        };
        Self::Unreachable {
            url: urls.join(", "),
            reason,
        }
    }

    /// The exit code it stands for.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Address { .. }
            | Self::NotEncrypted { .. }
            | Self::Unreachable { .. }
            | Self::Balancer { .. }
            | Self::NoLeader { .. }
            | Self::Busy { .. } => exit::UNREACHABLE,
            Self::Refused(_) => exit::REFUSED,
            Self::Reply { .. } => exit::FAILED,
        }
    }

    /// Whether asking again later may help.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Balancer { .. }
                | Self::NoLeader { .. }
                | Self::Busy { .. }
        )
    }
}

impl Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { url, reason } => write!(
                f,
                "{url:?} is not the address of a master ({reason}); write it like http://127.0.0.1:7400"
            ),
            Self::NotEncrypted { url } => write!(
                f,
                "the master speaks TLS: use https:// instead of {url}; the token carries its cluster's fingerprint, so it was not shown in plain text"
            ),
            Self::Unreachable { url, reason } => write!(
                f,
                "cannot reach the master at {url}: {reason}; {}",
                way_out(reason)
            ),
            Self::Balancer { at, flag, reason } => write!(
                f,
                "cannot reach the balancer at {at}: {reason}; name another with {flag} ADDR"
            ),
            Self::NoLeader { url, message } => write!(
                f,
                "the master at {url} has no leader to ask just now: {message}; try again in some seconds"
            ),
            Self::Busy { url, message } => write!(f, "the master at {url} is busy: {message}"),
            Self::Refused(error) => refused(f, error),
            Self::Reply { url, reason } => write!(
                f,
                "{url} does not answer as a master of this version does ({reason}); is it another program's address or another version?"
            ),
        }
    }
}

impl Error for ClientError {}

/// What to do about an unreachable master.
fn way_out(reason: &str) -> &'static str {
    match reason.contains("unknownissuer") {
        true => {
            "its certificate is of its cluster's own authority, which is believed with a token that carries the fingerprint: give the one \
             that `hancock master init` printed with --token-file FILE or HANCOCK_TOKEN"
        }
        false => {
            "start one with `hancock dev`, or name another with --master URL or HANCOCK_MASTER"
        }
    }
}

fn refused(f: &mut fmt::Formatter<'_>, error: &ApiError) -> fmt::Result {
    f.write_str(&error.message)?;
    for problem in &error.problems {
        f.write_char('\n')?;
        match problem.path.as_str() {
            "" => write!(f, "  {}", problem.message)?,
            path => write!(f, "  {path}: {}", problem.message)?,
        }
    }
    Ok(())
}

/// The operating system's words; the layers around them say only "error sending request".
fn innermost(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string().to_lowercase()
}

/// Addresses with commas between them; at least one.
pub(super) fn parse_addresses(urls: &str) -> Result<Vec<Url>, ClientError> {
    urls.split(',')
        .map(|url| parse_address(url.trim()))
        .collect()
}

/// An HTTP address, with a slash at its end so that paths can be joined.
fn parse_address(url: &str) -> Result<Url, ClientError> {
    let parsed = Url::parse(&format!("{}/", url.trim_end_matches('/')))
        .map_err(|e| ClientError::address(url, &e))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        other => Err(ClientError::address(
            url,
            &format!("{other:?} is not a web address"),
        )),
    }
}
