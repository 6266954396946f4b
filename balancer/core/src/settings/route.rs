//! Paths below a host that lead to services of their own.

use std::borrow::Cow;

use crate::key;

/// Longest prefix.
const MAX_PREFIX: usize = 1024;

/// A host and the path below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The host, lower case.
    pub host: Box<str>,
    /// The prefix, without a slash at its end.
    pub prefix: Box<str>,
    /// Origins are sent the path without it.
    pub strip: bool,
}

impl Route {
    /// Reads `host/prefix`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(text: &str, strip: bool) -> Result<Self, String> {
        let Some((host, _)) = text.split_once('/') else {
            return Err(format!(
                "{text:?} names no path, write it like web.example/api"
            ));
        };
        let prefix = text[host.len()..].trim_end_matches('/');
        let fit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.[]:".contains(&b);
        if host.is_empty() || host.len() > 255 || !host.bytes().all(fit) {
            return Err(format!(
                "{host:?} is no host in lower case, write it like web.example/api"
            ));
        }
        let odd = |b: u8| b.is_ascii_control() || matches!(b, b'?' | b'#' | b'%' | b'\\');
        let usual = key::normalise(prefix.as_bytes()) == prefix.as_bytes();
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || prefix.bytes().any(odd) || !usual {
            return Err(format!(
                "{prefix:?} is no path below a host, write it like web.example/api, without escapes, dots for segments and empty segments"
            ));
        }
        Ok(Self {
            host: host.into(),
            prefix: prefix.into(),
            strip,
        })
    }

    /// Whether a path is the prefix or below it; whole segments count.
    pub fn holds(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(self.prefix.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// The target without the prefix, query kept; None: it does not begin with it.
    pub fn without_prefix(&self, target: &[u8]) -> Option<Vec<u8>> {
        let end = target.iter().position(|b| *b == b'?');
        let query = &target[end.unwrap_or(target.len())..];
        let path = path(target);
        if !self.holds(&path) {
            return None;
        }
        let rest = &path[self.prefix.len()..];
        let mut out = Vec::with_capacity(target.len() + 1);
        if rest.is_empty() {
            out.push(b'/');
        }
        match &path {
            Cow::Borrowed(_) => out.extend_from_slice(rest),
            Cow::Owned(_) => escape(rest, &mut out),
        }
        out.extend_from_slice(query);
        Some(out)
    }
}

/// The path routes are compared with: as hash modes see it, so that no spelling of a path gets around a prefix. As sent, without an
/// allocation, when there is only one spelling.
pub fn path(target: &[u8]) -> Cow<'_, [u8]> {
    let end = target.iter().position(|b| matches!(b, b'?' | b'#'));
    let path = &target[..end.unwrap_or(target.len())];
    let after_slash = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    if path.first() == Some(&b'/') && !path.contains(&b'%') && !path.windows(2).any(after_slash) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(key::normalise(target))
}

/// Bytes that cannot stand in a path as themselves become escapes.
fn escape(path: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> Route {
        Route::read("web.example/api/", true).expect("a route")
    }

    #[test]
    fn routes_are_read_strictly() {
        assert_eq!((&*api().host, &*api().prefix), ("web.example", "/api"));
        for bad in [
            "web.example",
            "web.example/",
            "/api",
            "Web.example/api",
            "web.example/a//b",
            "web.example/a/../b",
            "web.example/./b",
            "web.example/a?b",
            "web.example/%61",
            "web.example/a\nb",
            "web example/a",
        ] {
            assert!(Route::read(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn whole_segments_count_however_they_are_spelled() {
        for (target, inside) in [
            ("/api", true),
            ("/api/", true),
            ("/api?x", true),
            ("/api/v1/x", true),
            ("/apis", false),
            ("/", false),
            ("*", false),
            ("/%61pi/x", true),
            ("//api//x", true),
            ("/x/../api", true),
            ("/api/../x", false),
            ("/api/%2e%2e/x", false),
        ] {
            assert_eq!(api().holds(&path(target.as_bytes())), inside, "{target}");
        }
        assert!(matches!(
            path(b"/plain/path.txt?a//b"),
            Cow::Borrowed(b"/plain/path.txt")
        ));
    }

    #[test]
    fn prefixes_are_cut_off_and_the_rest_stays() {
        for (target, rest) in [
            ("/api", "/"),
            ("/api/", "/"),
            ("/api?x=/api", "/?x=/api"),
            ("/api/a~b?c", "/a~b?c"),
            ("/api//b", "/b"),
            ("/%61pi/a%20b?q=%20", "/a%20b?q=%20"),
        ] {
            let got = api().without_prefix(target.as_bytes()).expect(target);
            assert_eq!(String::from_utf8_lossy(&got), rest, "{target}");
        }
        assert_eq!(api().without_prefix(b"/other"), None);
    }
}
