//! How requests to a service are carried: the members of `proxy` in upstream documents, in the spec's units. What is left out is for the
//! balancer to say.

use serde::{Deserialize, Serialize};

use crate::units::{Size, Span};
use crate::upstream::{self, ForwardedFor, NoPeer, SameSite, Seconds};

/// How requests to a service are carried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ServiceProxy {
    /// Instances are sent paths without the prefix of the host they came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<bool>,
    /// Until a connection to an instance is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Span>,
    /// Between two writes to an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_timeout: Option<Span>,
    /// Between two reads from an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_timeout: Option<Span>,
    /// Silence of an instance on a WebSocket or another upgraded stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_timeout: Option<Span>,
    /// Between two reads of a request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_timeout: Option<Span>,
    /// A client's connection waits so long for its next request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_timeout: Option<Span>,
    /// Largest request body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<Size>,
    /// Attempts one request may take; 1: never repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// No further attempt once this much has passed since the first began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_timeout: Option<Span>,
    /// A client stays with its instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickyCookie>,
    /// Addresses and networks whose `X-Forwarded-*` are believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_proxies: Option<Vec<String>>,
    /// What becomes of `X-Forwarded-For`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_for: Option<ForwardedFor>,
    /// Instances are told the client's scheme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_proto: Option<bool>,
    /// Instances are told the host as the client wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_host: Option<bool>,
    /// The answer when no instance can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_peer: Option<NoPeer>,
}

/// A cookie that keeps a client with its instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StickyCookie {
    /// Name of the cookie.
    pub cookie: String,
    /// Time it lives; None: as long as the browser runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// Only over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// For requests from other sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
}

impl ServiceProxy {
    /// The same in an upstream document.
    pub fn document(&self) -> upstream::Proxy {
        upstream::Proxy {
            strip_prefix: self.strip_prefix,
            connect_timeout: self.connect_timeout.map(seconds),
            send_timeout: self.send_timeout.map(seconds),
            read_timeout: self.read_timeout.map(seconds),
            session_timeout: self.session_timeout.map(seconds),
            body_timeout: self.body_timeout.map(seconds),
            keepalive_timeout: self.keepalive_timeout.map(seconds),
            max_body: self.max_body.map(Size::as_bytes),
            attempts: self.attempts,
            retry_timeout: self.retry_timeout.map(seconds),
            sticky: self.sticky.as_ref().map(StickyCookie::document),
            trusted_proxies: self.trusted_proxies.clone(),
            forwarded_for: self.forwarded_for,
            forwarded_proto: self.forwarded_proto,
            forwarded_host: self.forwarded_host,
            no_peer: self.no_peer.clone(),
            ..upstream::Proxy::default()
        }
    }
}

impl StickyCookie {
    fn document(&self) -> upstream::Sticky {
        let age = self.max_age.map(|age| age.duration().as_secs());
        upstream::Sticky {
            cookie: self.cookie.clone(),
            max_age: age.map(|s| u32::try_from(s).unwrap_or(u32::MAX)),
            secure: self.secure,
            same_site: self.same_site,
            ..upstream::Sticky::default()
        }
    }
}

fn seconds(span: Span) -> Seconds {
    Seconds(span.duration().as_secs_f64())
}
