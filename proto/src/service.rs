//! What a service is called wherever documents, confirmations and watches speak of it: a host over HTTP, a listen port over TCP.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Keys of HTTP documents in a store, before the name.
const HTTP_KEYS: &str = "upstreams/";
/// The same of TCP documents.
const TCP_KEYS: &str = "upstreams_stream/";

/// A service's name. As text a host, or a colon and a listen port, which no host looks like: `web.example`, `:3131`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(value_type = String, min_length = 1, examples("web.example", ":3131"))
)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// The two kinds, which balancers keep apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind<'a> {
    /// HTTP requests for this host.
    Http(&'a str),
    /// TCP connections to this port.
    Tcp(u16),
}

/// Why a text names no service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no service: a host is written like web.example, a TCP port like :3131")]
pub struct InvalidServiceName(String);

impl ServiceName {
    /// The service of a host, or of a path below one: `web.example/api`.
    ///
    /// # Errors
    /// There is no host, or a colon in it.
    pub fn http(host: &str) -> Result<Self, InvalidServiceName> {
        match host.is_empty() || host.starts_with('/') || host.contains(':') {
            true => Err(InvalidServiceName(host.to_owned())),
            false => Ok(Self(host.to_owned())),
        }
    }

    /// The service of a listen port.
    pub fn tcp(port: u16) -> Self {
        Self(format!(":{port}"))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it serves.
    pub fn kind(&self) -> ServiceKind<'_> {
        match port(&self.0) {
            Some(port) => ServiceKind::Tcp(port),
            None => ServiceKind::Http(&self.0),
        }
    }

    /// Its key in a store, after the store's prefix: `upstreams/web.example`, `upstreams_stream/3131`.
    pub fn key(&self) -> String {
        match self.kind() {
            ServiceKind::Http(host) => format!("{HTTP_KEYS}{host}"),
            ServiceKind::Tcp(port) => format!("{TCP_KEYS}{port}"),
        }
    }

    /// The service of a store's key, without the store's prefix.
    ///
    /// # Errors
    /// The key is none of a service.
    pub fn of_key(key: &str) -> Result<Self, InvalidServiceName> {
        let invalid = || InvalidServiceName(key.to_owned());
        match (key.strip_prefix(HTTP_KEYS), key.strip_prefix(TCP_KEYS)) {
            (Some(host), _) => Self::http(host),
            (_, Some(port)) => format!(":{port}").parse().map_err(|_| invalid()),
            _ => Err(invalid()),
        }
    }
}

/// The port of a text like `:3131`, written in the one way there is.
fn port(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(':')?;
    let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

impl FromStr for ServiceName {
    type Err = InvalidServiceName;

    fn from_str(text: &str) -> Result<Self, InvalidServiceName> {
        match port(text) {
            Some(port) => Ok(Self::tcp(port)),
            None => Self::http(text),
        }
    }
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidServiceName;

    fn try_from(text: String) -> Result<Self, InvalidServiceName> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> String {
        name.0
    }
}

impl PartialEq<str> for ServiceName {
    fn eq(&self, text: &str) -> bool {
        self.0 == text
    }
}

/// Equal, ordered and hashed as its text.
impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        let host: ServiceName = "web.example".parse().unwrap();
        let port: ServiceName = ":3131".parse().unwrap();
        assert_eq!(host.kind(), ServiceKind::Http("web.example"));
        assert_eq!(port.kind(), ServiceKind::Tcp(3131));
        assert_eq!(port, ServiceName::tcp(3131));
        // A host may look like a number.
        let number: ServiceName = "3131".parse().unwrap();
        assert_eq!(number.kind(), ServiceKind::Http("3131"));
        for bad in ["", ":", ":0", ":01", ":70000", ":+1", "web:80", "/b"] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_those_of_the_store() {
        for (name, key) in [
            ("web.example", "upstreams/web.example"),
            (":3131", "upstreams_stream/3131"),
        ] {
            let name: ServiceName = name.parse().unwrap();
            assert_eq!(name.key(), key);
            assert_eq!(ServiceName::of_key(key).unwrap(), name);
        }
        for bad in ["upstreams/", "upstreams_stream/x", "lua/web.example"] {
            assert!(ServiceName::of_key(bad).is_err(), "{bad}");
        }
    }
}
