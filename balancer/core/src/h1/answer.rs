//! What goes back of an answer's head.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response, Status};

use super::request::{asks_to_close, has, is};

/// Most bytes of a head.
const MAX_HEAD: usize = 256 * 1024;
/// Most lines of a head.
const MAX_HEADERS: usize = 256;

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// An answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Bytes of the input it took.
    pub length: usize,
    /// Status.
    pub status: u16,
    /// How the body ends; of one that comes before the answer there is none.
    pub framing: Framing,
    /// The origin lets the connection go on.
    pub keep: bool,
}

impl Answer {
    /// Whether the answer itself is still to come.
    pub fn is_interim(&self) -> bool {
        self.status < 200
    }
}

/// What the proxy says in an origin's place.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Value of `Server`.
    pub server: &'a str,
    /// Value of `Date`.
    pub date: &'a [u8],
}

/// Reads the head of an answer and writes what the client is sent of it, up to its last line but one: whether the connection goes on is
/// the caller's to say. `to_head`: the request's method was HEAD. None: more is needed, and nothing was written.
///
/// # Errors
/// Why it is no answer to hand on; `out` is then of no use.
pub fn read(
    input: &[u8],
    to_head: bool,
    own: Own<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<Answer>, &'static str> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = Response::new(&mut []);
    let mut parser = ParserConfig::default();
    // As old origins write them; they go on mended.
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    let parsed = parser.parse_response_with_uninit_headers(&mut response, input, &mut headers);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if input.len() < MAX_HEAD => return Ok(None),
        Ok(Status::Partial) => return Err("origin sent a head without an end"),
        Err(httparse::Error::TooManyHeaders) => return Err("origin sent too many headers"),
        Err(_) => return Err("origin sent no HTTP/1 answer"),
    };
    let (Some(status), Some(minor)) = (response.code, response.version) else {
        return Err("origin sent no HTTP/1 answer");
    };
    if status == 101 {
        return Err("origin switched protocols unasked");
    }
    let said = Said::of(response.headers, minor)?;
    let answer = Answer {
        length,
        status,
        framing: said.framing(status, to_head),
        keep: said.keeps(minor),
    };
    write_status(status, response.reason.unwrap_or_default(), out);
    match answer.is_interim() {
        true => write_interim(response.headers, out),
        false => said.write(response.headers, answer, own, out),
    }
    Ok(Some(answer))
}

/// What the lines say that mean something here.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Said {
    fn of(headers: &[Header<'_>], minor: u8) -> Result<Self, &'static str> {
        let mut said = Self::default();
        let mut codings = 0;
        for Header { name, value } in headers {
            match name.len() {
                10 if is(name.as_bytes(), "connection") => {
                    said.close |= asks_to_close(value);
                    said.keep_alive |= has(value, "keep-alive");
                }
                17 if is(name.as_bytes(), "transfer-encoding") => {
                    codings += 1;
                    said.chunked = value.eq_ignore_ascii_case(b"chunked");
                }
                _ => {}
            }
        }
        if codings > 0 && minor == 0 {
            return Err("origin sent chunks before there were any");
        }
        if codings > 1 || (codings == 1 && !said.chunked) {
            return Err("origin sent a foreign transfer coding");
        }
        // Chunks are what is read by.
        if !said.chunked {
            said.length = length(headers)?;
        }
        Ok(said)
    }

    fn framing(&self, status: u16, to_head: bool) -> Framing {
        match self.length {
            _ if to_head || status < 200 || matches!(status, 204 | 304) => Framing::None,
            _ if self.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        }
    }

    fn keeps(&self, minor: u8) -> bool {
        !self.close && (minor == 1 || self.keep_alive)
    }

    fn write(&self, headers: &[Header<'_>], answer: Answer, own: Own<'_>, out: &mut Vec<u8>) {
        // One length is enough, and none where chunks are what is read by, or where there can be no body.
        let bare = answer.status == 204;
        let mut length_told = self.chunked || bare;
        for header in headers {
            let name = header.name.as_bytes();
            match Kind::of(name) {
                Kind::Length if !length_told => length_told = true,
                Kind::Coding if !bare => {
                    // In one spelling: not everybody reads it in capitals.
                    write_line(name, b"chunked", out);
                    continue;
                }
                Kind::Other => {}
                Kind::Length | Kind::Coding | Kind::Ours => continue,
            }
            write_line(name, header.value, out);
        }
        if answer.framing == Framing::UntilClose {
            // So that the client's connection need not end with the origin's.
            write_line(b"Transfer-Encoding", b"chunked", out);
        }
        write_line(b"Server", own.server.as_bytes(), out);
        write_line(b"Date", own.date, out);
    }
}

/// The one length all lines agree on.
fn length(headers: &[Header<'_>]) -> Result<Option<u64>, &'static str> {
    let mut found: Option<&[u8]> = None;
    for Header { name, value } in headers {
        if name.len() != 14 || !is(name.as_bytes(), "content-length") {
            continue;
        }
        if found.is_some_and(|other| other != *value) || !value.iter().all(u8::is_ascii_digit) {
            return Err("origin sent lengths that differ or are none");
        }
        found = Some(value);
    }
    let Some(digits) = found else { return Ok(None) };
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse().ok());
    let number = number.ok_or("origin sent lengths that differ or are none")?;
    Ok(Some(number))
}

/// Lines that do not simply go on.
enum Kind {
    Length,
    Coding,
    /// The proxy's own, or meant for a proxy.
    Ours,
    Other,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        let ours = match name.len() {
            14 if is(name, "content-length") => return Self::Length,
            17 if is(name, "transfer-encoding") => return Self::Coding,
            4 => is(name, "date"),
            6 => is(name, "server"),
            10 => is(name, "connection") || is(name, "keep-alive"),
            _ => name.len() > 8 && is(&name[..8], "x-accel-"),
        };
        if ours { Self::Ours } else { Self::Other }
    }
}

fn write_status(status: u16, reason: &str, out: &mut Vec<u8>) {
    let digit = |n: u16| b'0' + u8::try_from(n % 10).unwrap_or_default();
    let digits = [digit(status / 100), digit(status / 10), digit(status)];
    for part in [b"HTTP/1.1 ", &digits[..], b" ", reason.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn write_interim(headers: &[Header<'_>], out: &mut Vec<u8>) {
    for header in headers {
        let name = header.name.as_bytes();
        // It says nothing of a body, whatever it says.
        if matches!(Kind::of(name), Kind::Other) {
            write_line(name, header.value, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn write_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for part in [name, b": "] {
        out.extend_from_slice(part);
    }
    if value.contains(&b'\n') {
        // Of several lines one: RFC 9112, 5.2.
        let unfolded = value
            .iter()
            .map(|b| if b"\r\n".contains(b) { b' ' } else { *b });
        out.extend(unfolded);
    } else {
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\r\n");
}
