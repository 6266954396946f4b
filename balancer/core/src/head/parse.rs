//! From the bytes of a whole head to what it says.

use std::borrow::Cow;

use super::target::spelt;
use super::{Body, Head, MAX_BODY, Refusal, Text, bytes};

/// Lines no client may have taken out on the way.
const PROTECTED: [&[u8]; 4] = [
    b"host",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];

/// What the header lines said.
#[derive(Default)]
struct Seen<'a> {
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    upgrade: Option<&'a [u8]>,
    wants_upgrade: bool,
    expects: bool,
    /// A line is left out.
    dropped: bool,
}

struct Line<'a> {
    method: &'a [u8],
    target: Target<'a>,
    version: Version,
}

struct Target<'a> {
    /// Of `http://authority/path`: counts in place of `Host`.
    authority: Option<&'a [u8]>,
    path: Cow<'a, [u8]>,
}

impl Target<'_> {
    /// It is handed on as it came.
    fn is_plain(&self) -> bool {
        self.authority.is_none() && matches!(self.path, Cow::Borrowed(_))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

pub(super) fn head(input: &[u8], start: usize, end: usize) -> Result<Head, Refusal> {
    let text = &input[start..end];
    let mut lines = lines(text);
    let line = request_line(lines.next().unwrap_or_default())?;
    let mut seen = Seen::default();
    for header in lines.clone() {
        seen.header(header)?;
    }
    seen.check(line.version)?;
    let body = seen.body()?;
    let upgrade = seen.upgrades(&line, body);
    let as_sent = line.target.is_plain() && !seen.dropped && (upgrade || seen.upgrade.is_none());
    Ok(Head {
        length: end,
        text: match as_sent {
            true => Text::AsSent(start),
            false => Text::Rewritten(rewrite(text, &line, upgrade)),
        },
        body,
        upgrade,
        expects: seen.expects && line.version == Version::Http11 && body != Body::None,
    })
}

/// Lines without their ends, up to the empty one.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = text;
    let next = move || {
        let end = bytes::find(rest, b'\n').map_or(rest.len(), |at| at + 1);
        let (line, more) = rest.split_at(end);
        rest = more;
        Some(line.strip_suffix(b"\r\n").unwrap_or(line)).filter(|line| !line.is_empty())
    };
    std::iter::from_fn(next)
}

fn request_line(line: &[u8]) -> Result<Line<'_>, Refusal> {
    let bad = Refusal::bad("request_line");
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad);
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(bad),
    };
    if !bytes::is_token(method) {
        return Err(bad);
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(Refusal {
            status: 405,
            reason: "method",
        });
    }
    Ok(Line {
        method,
        target: read_target(method, target).ok_or(bad)?,
        version,
    })
}

fn read_target<'a>(method: &[u8], target: &'a [u8]) -> Option<Target<'a>> {
    if bytes::has_blank(target) {
        return None;
    }
    if target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") {
        return Some(Target {
            authority: None,
            path: spelt(target),
        });
    }
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| strip(target, scheme))?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    (!authority.is_empty()).then(|| Target {
        authority: Some(authority),
        path: spelt(path),
    })
}

fn strip<'a>(text: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (first, rest) = text.split_at_checked(prefix.len())?;
    first
        .eq_ignore_ascii_case(prefix.as_bytes())
        .then_some(rest)
}

/// Name and value; None: the line is none.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
    let fine = bytes::is_token(name) && !bytes::has_control(value);
    fine.then_some((name, value))
}

/// Without the blanks around it; a carriage return or a form feed is none.
fn trim(value: &[u8]) -> &[u8] {
    let ink = |b: &u8| !matches!(b, b' ' | b'\t');
    let start = value.iter().position(ink).unwrap_or(value.len());
    let end = value.iter().rposition(ink).map_or(start, |last| last + 1);
    &value[start..end]
}

impl<'a> Seen<'a> {
    fn header(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        let Some((name, value)) = header(line) else {
            return Err(Refusal::bad("header"));
        };
        match Known::of(name) {
            Known::Host => self.hosts += 1,
            Known::ContentLength => self.content_length(value)?,
            Known::TransferEncoding => self.transfer_encoding(value)?,
            Known::Connection => self.connection(value)?,
            Known::Upgrade => self.upgrade = Some(value),
            Known::Expect => {
                self.expects |= value.eq_ignore_ascii_case(b"100-continue");
                self.dropped = true;
            }
            Known::NotForOrigins => self.dropped = true,
            Known::Other => {}
        }
        Ok(())
    }

    /// Names of lines that end here. Some lines must reach the origin whatever a client says.
    fn connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for token in value.split(|b| *b == b',').map(|t| t.trim_ascii()) {
            // A quoted name is the same name to some.
            let token = token.strip_prefix(b"\"").unwrap_or(token);
            let token = token.strip_suffix(b"\"").unwrap_or(token);
            if PROTECTED.iter().any(|p| token.eq_ignore_ascii_case(p)) {
                return Err(Refusal::bad("connection"));
            }
            self.wants_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
        match (digits, number, self.length) {
            (true, Some(number), None) => self.length = Some(number),
            _ => return Err(Refusal::bad("content_length")),
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::bad("transfer_encoding"));
        }
        self.chunked = true;
        Ok(())
    }

    fn check(&self, version: Version) -> Result<(), Refusal> {
        if self.hosts > 1 || (self.hosts == 0 && version == Version::Http11) {
            return Err(Refusal::bad("host"));
        }
        if self.chunked && (self.length.is_some() || version == Version::Http10) {
            return Err(Refusal::bad("ambiguous_length"));
        }
        Ok(())
    }

    fn body(&self) -> Result<Body, Refusal> {
        match self.length {
            _ if self.chunked => Ok(Body::Chunked),
            None | Some(0) => Ok(Body::None),
            Some(length) if length <= MAX_BODY => Ok(Body::Length(length)),
            Some(_) => Err(Refusal {
                status: 413,
                reason: "body_too_large",
            }),
        }
    }

    /// Only a plain GET becomes a stream of its own, and not one of another HTTP version.
    fn upgrades(&self, line: &Line<'_>, body: Body) -> bool {
        let protocol = self
            .upgrade
            .is_some_and(|u| !has_token(u, b"h2c") && !has_token(u, b"h2"));
        protocol
            && self.wants_upgrade
            && body == Body::None
            && line.method == b"GET"
            && line.version == Version::Http11
    }
}

/// Headers that mean something here.
enum Known {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Expect,
    NotForOrigins,
    Other,
}

impl Known {
    fn of(name: &[u8]) -> Self {
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        match name.len() {
            4 if is("host") => Self::Host,
            14 if is("content-length") => Self::ContentLength,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            10 if is("connection") => Self::Connection,
            7 if is("upgrade") => Self::Upgrade,
            6 if is("expect") => Self::Expect,
            2 if is("te") => Self::NotForOrigins,
            10 if is("keep-alive") => Self::NotForOrigins,
            14 if is("http2-settings") => Self::NotForOrigins,
            16 if is("proxy-connection") => Self::NotForOrigins,
            // Origins that map names to variables read them like names with dashes.
            _ if name.iter().any(|b| matches!(b, b'_' | b'.')) => Self::NotForOrigins,
            _ => Self::Other,
        }
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    let mut tokens = value.split(|b| *b == b',');
    tokens.any(|t| t.trim_ascii().eq_ignore_ascii_case(token))
}

/// The head with a path for a target, the authority as `Host`, and without lines that are not for origins.
fn rewrite(text: &[u8], line: &Line<'_>, upgrade: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let version: &[u8] = match line.version {
        Version::Http11 => b" HTTP/1.1",
        Version::Http10 => b" HTTP/1.0",
    };
    let path = &*line.target.path;
    let rooted = matches!(path.first(), Some(b'/' | b'*'));
    let slash: &[u8] = if rooted { b"" } else { b"/" };
    for part in [line.method, b" ", slash, path, version] {
        out.extend_from_slice(part);
    }
    if let Some(authority) = line.target.authority {
        out.extend_from_slice(b"\r\nHost: ");
        out.extend_from_slice(authority);
    }
    out.extend_from_slice(b"\r\n");
    let absolute = line.target.authority.is_some();
    for line in lines(text)
        .skip(1)
        .filter(|line| is_kept(line, absolute, upgrade))
    {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn is_kept(line: &[u8], absolute: bool, upgrade: bool) -> bool {
    let name = header(line).map_or(&[][..], |(name, _)| name);
    match Known::of(name) {
        Known::Host => !absolute,
        Known::Upgrade => upgrade,
        Known::Expect | Known::NotForOrigins => false,
        _ => true,
    }
}
