//! What can be made out of a request that was refused: enough for its record, and not a byte is trusted.

use hyper::http::{HeaderMap, HeaderName, HeaderValue, Version};

/// Lines looked at.
const LINES: usize = 100;

/// As far as it could be read.
pub(super) struct Glimpse<'a> {
    pub(super) method: &'a str,
    pub(super) target: String,
    pub(super) version: Option<Version>,
    pub(super) headers: HeaderMap,
}

impl<'a> Glimpse<'a> {
    /// Of what arrived before the refusal.
    pub(super) fn of(text: &'a [u8]) -> Self {
        let mut lines = text
            .split_inclusive(|b| *b == b'\n')
            .skip_while(|l| l.trim_ascii().is_empty());
        let first = lines.next().filter(|line| line.ends_with(b"\n"));
        let (method, target, version) =
            first
                .and_then(request_line)
                .unwrap_or(("-", "-".to_owned(), None));
        let whole = lines
            .take(LINES)
            .take_while(|line| line.ends_with(b"\n") && !line.trim_ascii().is_empty());
        Self {
            method,
            target,
            version,
            headers: whole.filter_map(header).collect(),
        }
    }
}

fn request_line(line: &[u8]) -> Option<(&str, String, Option<Version>)> {
    let mut parts = line.trim_ascii_end().split(|b| *b == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let is_word = !method.is_empty() && method.iter().all(u8::is_ascii_graphic);
    let version = match version {
        b"HTTP/1.1" => Some(Version::HTTP_11),
        b"HTTP/1.0" => Some(Version::HTTP_10),
        _ => None,
    };
    let target = String::from_utf8_lossy(target).into_owned();
    is_word.then_some((std::str::from_utf8(method).ok()?, target, version))
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_told() {
        let seen =
            Glimpse::of(b"\r\nTRACE /x?y HTTP/1.1\r\nHost: a\r\nno colon\r\nUser-Agent: u\r\nCut");
        assert_eq!((seen.method, seen.target.as_str()), ("TRACE", "/x?y"));
        assert_eq!(
            (seen.version, seen.headers.len()),
            (Some(Version::HTTP_11), 2)
        );
        for rubbish in [
            &b""[..],
            b"GET /never/ends",
            b"\x16\x03\x01\r\n",
            b"two words\r\n",
            b"\r\n\r\n",
        ] {
            let seen = Glimpse::of(rubbish);
            assert_eq!(
                (seen.method, seen.target.as_str(), seen.version),
                ("-", "-", None),
                "{rubbish:?}"
            );
        }
    }
}
