//! How a service's requests are carried: the member `proxy` of its document, resolved once, so that a request only reads fields.
//!
//! What a document leaves out is what the original does.

mod cookie;
mod forwarded;
mod read;
pub mod route;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::head::MAX_BODY;
use crate::retry::Rules;

pub use cookie::Cookie;
pub use forwarded::{Forwarding, Net};
pub use route::Route;

pub(crate) use read::read;

/// Largest answer a document may hold for when there is no peer.
pub const MAX_ANSWER: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where the service is reached, when not under its name.
    pub route: Option<Route>,
    /// Times of connections to peers.
    pub peer: PeerTimes,
    /// Times of clients' connections.
    pub client: ClientTimes,
    /// Limits of request bodies.
    pub body: BodyLimits,
    /// When requests are repeated.
    pub retry: Rules,
    /// Clients stay with their peer.
    pub sticky: Option<Cookie>,
    /// What is believed of, and told about, a request's way.
    pub forwarding: Forwarding,
    /// The answer when no peer can be reached; None: the balancer's own page.
    pub no_peer: Option<Arc<Answer>>,
}

/// Times of connections to peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerTimes {
    /// Until a connection is open.
    pub connect: Duration,
    /// Between two writes.
    pub send: Duration,
    /// Between two reads.
    pub read: Duration,
    /// The same for streams that were upgraded.
    pub session: Duration,
    /// A connection nobody uses is kept.
    pub pool: Duration,
}

/// Times of clients' connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientTimes {
    /// Between two writes.
    pub send: Duration,
    /// Between two requests; zero: the connection ends with each.
    pub keepalive: Duration,
}

/// Limits of request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Most bytes.
    pub most: u64,
    /// Between two reads, and granted on the whole.
    pub patience: Duration,
    /// Bytes per second on the whole; 0: any pace will do.
    pub least_rate: u32,
}

impl BodyLimits {
    /// Whether a body of which `came` bytes arrived in `took` is slower than it may be.
    pub fn is_too_slow(&self, came: u64, took: Duration) -> bool {
        let rate = u64::from(self.least_rate);
        let overtime = took.saturating_sub(self.patience);
        rate > 0 && overtime.as_secs().saturating_mul(rate) > came
    }
}

/// An answer a document holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Value of `Content-Type`.
    pub content_type: Box<str>,
    /// Body.
    pub body: Arc<str>,
}

impl Settings {
    /// Whether heads go on as they come: no cookie, no path without its prefix, the usual word about a request's way.
    pub fn is_plain(&self) -> bool {
        let strips = self.route.as_ref().is_some_and(|r| r.strip);
        self.sticky.is_none() && !strips && self.forwarding.is_usual()
    }

    /// Those of a document that says nothing. `plain`: not written by a master.
    pub fn unsaid(plain: bool) -> Arc<Self> {
        static PLAIN: LazyLock<Arc<Settings>> = LazyLock::new(|| Arc::new(default(true)));
        static OURS: LazyLock<Arc<Settings>> = LazyLock::new(|| Arc::new(default(false)));
        if plain { PLAIN.clone() } else { OURS.clone() }
    }
}

fn default(plain: bool) -> Settings {
    let minute = Duration::from_secs(60);
    Settings {
        route: None,
        peer: PeerTimes {
            connect: Duration::from_secs(3),
            send: minute,
            read: minute,
            // Upgraded streams may be silent for as long as a session may last at all.
            session: Duration::from_secs(24 * 3600),
            pool: minute,
        },
        client: ClientTimes {
            send: minute,
            keepalive: Duration::from_secs(15),
        },
        body: BodyLimits {
            most: MAX_BODY,
            patience: minute,
            // The slowest modem was faster; whoever is slower than this wants the connection, not the answer.
            least_rate: 100,
        },
        retry: Rules::unsaid(plain),
        sticky: None,
        forwarding: Forwarding::default(),
        no_peer: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_of_bytes_is_too_slow_in_the_end() {
        let limits = Settings::unsaid(true).body;
        let seconds = Duration::from_secs;
        assert!(!limits.is_too_slow(0, seconds(60)));
        assert!(!limits.is_too_slow(60, seconds(60)));
        assert!(limits.is_too_slow(62, seconds(62)));
        assert!(!limits.is_too_slow(1000, seconds(70)) && limits.is_too_slow(999, seconds(70)));
        let any = BodyLimits {
            least_rate: 0,
            ..limits
        };
        assert!(!any.is_too_slow(1, seconds(86_400)));
    }
}
