//! The name a request is for: from an absolute target, else from `Host`; without port, lower case, without a last dot.

use hyper::http::header::HOST;
use hyper::http::{HeaderMap, Uri, Version};

/// Longest name that is looked for; it is a line of a head, so there is a limit already.
const MAX: usize = 16 * 1024;
/// Longest name in the world's name system.
const USUAL: usize = 255;

/// A name; a usual one is held on the stack, so that finding a service allocates nothing.
pub(super) enum Name {
    Usual { bytes: [u8; USUAL], length: usize },
    Long(Box<[u8]>),
}

/// Why there is no name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoName {
    /// The request does not have to have one, and has none.
    Absent,
    /// It breaks the protocol.
    Bad,
}

impl Name {
    pub(super) fn of(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<Self, NoName> {
        if let Some(authority) = uri.authority() {
            return Self::read(authority.as_str().as_bytes());
        }
        let mut hosts = headers.get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => Self::read(host.as_bytes()),
            (None, _) if version < Version::HTTP_11 => Err(NoName::Absent),
            _ => Err(NoName::Bad),
        }
    }

    /// The name in a value of `Host`.
    pub(super) fn read(text: &[u8]) -> Result<Self, NoName> {
        let host = without_port(text);
        let host = host.strip_suffix(b".").unwrap_or(host);
        if host.is_empty() || host.len() > MAX || host.iter().any(|b| is_foreign(*b)) {
            return Err(NoName::Bad);
        }
        if host.windows(2).any(|pair| pair == b"..") {
            return Err(NoName::Bad);
        }
        let length = host.len();
        if length > USUAL {
            return Ok(Self::Long(host.to_ascii_lowercase().into()));
        }
        let mut bytes = [0; USUAL];
        bytes[..length].copy_from_slice(host);
        bytes[..length].make_ascii_lowercase();
        Ok(Self::Usual { bytes, length })
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = match self {
            Self::Usual { bytes, length } => &bytes[..*length],
            Self::Long(bytes) => bytes,
        };
        std::str::from_utf8(bytes).unwrap_or("")
    }
}

/// Cut at the first colon after the brackets of an IPv6 literal, whatever follows.
fn without_port(text: &[u8]) -> &[u8] {
    let from = text.iter().position(|b| *b == b']').unwrap_or(0);
    let colon = text[from..].iter().position(|b| *b == b':');
    colon.map_or(text, |at| &text[..from + at])
}

fn is_foreign(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\' | b'@' | b'?' | b'#') || byte <= b' ' || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        for (text, name) in [
            ("Demo.Local", "demo.local"),
            ("demo.local:8080", "demo.local"),
            ("demo.local:abc", "demo.local"),
            ("demo.local.", "demo.local"),
            ("demo.local.:80", "demo.local"),
            ("[::1]:80", "[::1]"),
        ] {
            let read = Name::read(text.as_bytes());
            assert_eq!(
                read.ok().map(|n| n.as_str().to_owned()),
                Some(name.to_owned()),
                "{text}"
            );
        }
        let long = format!("A{}", "b".repeat(3000));
        let read = Name::read(long.as_bytes()).ok();
        assert_eq!(
            read.map(|n| n.as_str().to_owned()),
            Some(long.to_lowercase())
        );
        for bad in ["", ":80", "a/b", "a..b", "a b", "a@b", &"x".repeat(MAX + 1)] {
            assert!(Name::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_beats_the_header_and_http_1_1_must_name_somebody() {
        let (target, plain) = (
            Uri::from_static("http://a.example:1/x"),
            Uri::from_static("/x"),
        );
        let mut headers = HeaderMap::new();
        assert_eq!(
            Name::of(&plain, &headers, Version::HTTP_10).err(),
            Some(NoName::Absent)
        );
        assert_eq!(
            Name::of(&plain, &headers, Version::HTTP_11).err(),
            Some(NoName::Bad)
        );
        headers.append(HOST, "b.example".parse().expect("a value"));
        let named = |uri, headers: &HeaderMap| {
            Name::of(uri, headers, Version::HTTP_11)
                .ok()
                .map(|n| n.as_str().to_owned())
        };
        assert_eq!(named(&target, &headers).as_deref(), Some("a.example"));
        assert_eq!(named(&plain, &headers).as_deref(), Some("b.example"));
        headers.append(HOST, "c.example".parse().expect("a value"));
        assert_eq!(named(&plain, &headers), None);
    }
}
