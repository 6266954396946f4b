//! What goes on of a request.

use std::borrow::Cow;

use crate::head::{as_sent, lines};

/// A request of the plain kind.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Method, in its own letters.
    pub method: &'a str,
    /// Target, as the client sent it.
    pub target: Cow<'a, [u8]>,
    /// Value of `Host`.
    pub host: &'a [u8],
    /// The client wants no further answer on its connection.
    pub close: bool,
    /// Everything behind the request line.
    headers: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads a head that passed the filter. None: it is of another kind, HTTP/1.0 or one without a path.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        let (line, headers) = cut(text, b'\n')?;
        let (method, rest) = cut(line.strip_suffix(b"\r")?, b' ')?;
        let target = rest.strip_suffix(b" HTTP/1.1")?;
        if target.first() != Some(&b'/') {
            return None;
        }
        let mut read = Self {
            method: std::str::from_utf8(method).ok()?,
            target: as_sent(target).map_or(Cow::Borrowed(target), Cow::Owned),
            host: b"",
            close: false,
            headers,
        };
        for (name, value, _) in read.lines() {
            match name.len() {
                4 if is(name, "host") => read.host = value,
                10 if is(name, "connection") => read.close |= asks_to_close(value),
                _ => {}
            }
        }
        Some(read)
    }

    /// Whether the answer has a body at all, however it describes one.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Names, values without the blanks around them, and whole lines without their ends.
    pub fn lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8], &'a [u8])> + use<'a> {
        lines(self.headers).filter_map(|line| {
            let (name, value) = cut(line, b':')?;
            Some((name, value.trim_ascii(), line))
        })
    }

    /// The first value under a name; `name` is in small letters.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.lines().find(|(other, _, _)| is(other, name));
        found.map(|(_, value, _)| value)
    }

    /// What the origin is sent: the service's `host`, and `client` behind whoever is named in `X-Forwarded-For`.
    pub fn write(&self, host: &[u8], client: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.target.len() + self.headers.len() + host.len() + 96);
        for part in [
            self.method.as_bytes(),
            b" ",
            &self.target,
            b" HTTP/1.1\r\nHost: ",
            host,
            b"\r\n",
        ] {
            out.extend_from_slice(part);
        }
        let mut forwarded = false;
        for (name, _, line) in self.lines() {
            match name.len() {
                4 if is(name, "host") => {}
                10 if is(name, "connection") => {}
                15 if is(name, "x-forwarded-for") => forwarded = true,
                _ => {
                    out.extend_from_slice(line);
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        out.extend_from_slice(b"X-Forwarded-For: ");
        if forwarded {
            self.write_forwarded(out);
        }
        out.extend_from_slice(client);
        out.extend_from_slice(b"\r\n\r\n");
    }

    fn write_forwarded(&self, out: &mut Vec<u8>) {
        for (name, value, _) in self.lines() {
            if is(name, "x-forwarded-for") {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
        }
    }
}

pub(super) fn is(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

fn cut(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == at)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Whether a value of `Connection` says so.
pub(super) fn asks_to_close(value: &[u8]) -> bool {
    has(value, "close")
}

/// Whether a list of words holds one.
pub(super) fn has(value: &[u8], word: &str) -> bool {
    let mut words = value.split(|b| *b == b',');
    words.any(|w| is(w.trim_ascii(), word))
}
