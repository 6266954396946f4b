//! What a hash mode looks at.

use std::net::IpAddr;

use crate::ring;
use crate::upstream::Mode;

/// The parts of a request a mode may hash. Borrowed: nothing is computed before a mode asks for it.
#[derive(Debug, Clone, Copy)]
pub struct RequestKey<'a> {
    /// Request target as sent, query included.
    pub target: &'a [u8],
    /// The client's address; None: not known.
    pub client: Option<IpAddr>,
    /// Value of `X-Hash-Key`, when there is one, even an empty one.
    pub header: Option<&'a [u8]>,
}

impl RequestKey<'_> {
    /// The key's hash under `mode`; None: the mode does not hash.
    pub fn hash(&self, mode: Mode) -> Option<u32> {
        match mode {
            Mode::Rotation => None,
            Mode::UrlHash => Some(self.path_hash()),
            Mode::IpHash => Some(match self.client {
                Some(ip) => ring::hash(ip.to_string().as_bytes()),
                None => 0,
            }),
            Mode::HeaderHash => Some(self.header.map_or_else(|| self.path_hash(), ring::hash)),
        }
    }

    fn path_hash(&self) -> u32 {
        ring::hash(&normalise(self.target))
    }
}

/// The path of a target: query cut off, percent-decoded, repeated slashes merged, `.` and `..` resolved.
pub fn normalise(target: &[u8]) -> Vec<u8> {
    let end = target.iter().position(|b| matches!(b, b'?' | b'#'));
    let path = decode(&target[..end.unwrap_or(target.len())]);
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut directory = true;
    for part in path.split(|b| *b == b'/') {
        directory = matches!(part, b"" | b"." | b"..");
        match part {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let mut out = vec![b'/'];
    out.extend_from_slice(&kept.join(&b'/'));
    if directory && out.len() > 1 {
        out.push(b'/');
    }
    out
}

/// Percent escapes become bytes; what is not an escape stays as it is.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2).and_then(hex))
            .flatten();
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out
}

fn hex(digits: &[u8]) -> Option<u8> {
    let high = char::from(digits[0]).to_digit(16)?;
    let low = char::from(digits[1]).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        for (target, path) in [
            ("/", "/"),
            ("/a?b=c", "/a"),
            ("//a///b/", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/../..", "/"),
            ("/%61%2fb%zz", "/a/b%zz"),
            ("/a/b/..", "/a/"),
        ] {
            assert_eq!(normalise(target.as_bytes()), path.as_bytes(), "{target}");
        }
    }

    #[test]
    fn an_empty_header_counts() {
        let key = RequestKey {
            target: b"/abc",
            client: None,
            header: Some(b""),
        };
        assert_eq!(key.hash(Mode::HeaderHash), Some(0));
        assert_eq!(key.hash(Mode::UrlHash), Some(1_496_531));
        assert_eq!(key.hash(Mode::Rotation), None);
    }
}
