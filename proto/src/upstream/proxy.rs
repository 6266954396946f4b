//! The member `proxy` of an upstream document: how requests to the service are carried. Every member may be absent; what then holds is
//! what a Slardar does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::shape;

/// A time in seconds, fractions allowed.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        shape::number(&Some(self.0), to)
    }
}

/// How requests are carried. Sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Proxy {
    /// Host and path prefix the service is reached under instead of its own name, like `web.example/api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Origins are sent the path without the prefix it was reached under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<bool>,
    /// Until a connection to a peer is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Seconds>,
    /// Between two writes to a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_timeout: Option<Seconds>,
    /// Between two reads from a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_timeout: Option<Seconds>,
    /// Silence of a peer on a WebSocket or another upgraded stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_timeout: Option<Seconds>,
    /// An unused connection to a peer is kept for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_timeout: Option<Seconds>,
    /// Between two reads of a request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_timeout: Option<Seconds>,
    /// Bytes per second a body must have on the whole, `body_timeout` granted; 0: any pace will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_min_rate: Option<u32>,
    /// Between two writes to a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_timeout: Option<Seconds>,
    /// A client's connection waits so long for its next request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_timeout: Option<Seconds>,
    /// Largest request body; 0: as large as the balancer takes at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// Attempts one request may take; 1: never repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// No further attempt once this much has passed since the first began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_timeout: Option<Seconds>,
    /// A client stays with its peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Addresses and networks whose `X-Forwarded-*` are believed. Absent: everybody's list is handed on, nobody's is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_proxies: Option<Vec<String>>,
    /// What becomes of `X-Forwarded-For`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_for: Option<ForwardedFor>,
    /// Origins are told the client's scheme in `X-Forwarded-Proto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_proto: Option<bool>,
    /// Origins are told the host as the client wrote it in `X-Forwarded-Host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_host: Option<bool>,
    /// The answer when no peer can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_peer: Option<NoPeer>,
    /// Members of other versions, kept and echoed.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// What becomes of a request's `X-Forwarded-For`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ForwardedFor {
    /// The sender's address is added to it.
    Append,
    /// The client's address takes its place.
    Replace,
}

/// A cookie that keeps a client with its peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Sticky {
    /// Name of the cookie.
    pub cookie: String,
    /// Mixed into its value. Needed where servers have no instance: their addresses must not be guessed from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Path of the cookie; absent: the prefix of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Seconds it lives; absent: as long as the browser runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
    /// Only over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// For requests from other sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
    /// Members of other versions, kept and echoed.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// When browsers send a cookie with requests from other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// Never.
    Strict,
    /// When following a link.
    Lax,
    /// Always; only with `secure`.
    None,
}

/// An answer of the balancer's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NoPeer {
    /// Its status; absent: 502.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Its `Content-Type`; absent: that of plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its body; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Members of other versions, kept and echoed.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Proxy {
    /// Paths of members this version does not know.
    pub fn strangers(&self) -> impl Iterator<Item = String> {
        let sticky = self.sticky.iter().flat_map(|s| s.other.keys());
        let no_peer = self.no_peer.iter().flat_map(|n| n.other.keys());
        let own = self.other.keys().map(|name| format!("proxy.{name}"));
        own.chain(sticky.map(|name| format!("proxy.sticky.{name}")))
            .chain(no_peer.map(|name| format!("proxy.no_peer.{name}")))
    }
}
