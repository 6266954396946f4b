//! Readers of requests that do not agree with each other: what all of them understand alike nobody can use to smuggle.

/// What a reader does where the protocol leaves room, or where others break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Takes what the protocol asks for and nothing else.
    Strict,
    /// Believes a length before chunks, the first of several, as far as it is digits.
    LengthFirst,
    /// Believes anything that looks like chunks before any length, the last of several.
    ChunksFirst,
}

/// A request as a reader understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub host: String,
    pub body: Vec<u8>,
}

/// What a reader made of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// A request, and how many bytes it took.
    Whole(Seen, usize),
    /// More is needed.
    More,
    /// This is no request.
    Nonsense(&'static str),
}

use Read::{More, Nonsense, Whole};

impl Style {
    /// The request at the beginning of `input`.
    pub fn read(self, input: &[u8]) -> Read {
        let Some((head, length)) = self.head(input) else {
            return More;
        };
        let Some((first, lines)) = head.split_first() else {
            return Nonsense("an empty head");
        };
        let words: Vec<&str> = match self {
            Style::Strict => first.split(' ').collect(),
            _ => first.split_whitespace().collect(),
        };
        let ([method, target] | [method, target, _]) = words[..] else {
            return Nonsense("a request line");
        };
        let headers = match self.headers(lines) {
            Ok(headers) => headers,
            Err(why) => return Nonsense(why),
        };
        let all = |name: &str| -> Vec<&str> {
            let ours = headers.iter().filter(|(n, _)| n == name);
            ours.map(|(_, v)| v.as_str()).collect()
        };
        let (hosts, rest) = (all("host"), &input[length..]);
        if self == Style::Strict && hosts.len() != 1 {
            return Nonsense("not one host");
        }
        let body = self.body(&all("content-length"), &all("transfer-encoding"), rest);
        match body {
            Err(why) => Nonsense(why),
            Ok(None) => More,
            Ok(Some((body, taken))) => Whole(
                Seen {
                    method: method.to_owned(),
                    target: target.to_owned(),
                    host: hosts.last().unwrap_or(&"").to_string(),
                    body,
                },
                length + taken,
            ),
        }
    }

    /// Lines up to the empty one, and the bytes they took.
    fn head(self, input: &[u8]) -> Option<(Vec<String>, usize)> {
        let (mut lines, mut at) = (Vec::new(), 0);
        loop {
            let end = at + input[at..].iter().position(|b| *b == b'\n')?;
            let line = input[at..end]
                .strip_suffix(b"\r")
                .unwrap_or(&input[at..end]);
            at = end + 1;
            match (line.is_empty(), lines.is_empty()) {
                // Blank lines before a request are nothing to anybody.
                (true, true) => {}
                (true, false) => return Some((lines, at)),
                (false, _) => lines.push(String::from_utf8_lossy(line).into_owned()),
            }
        }
    }

    fn headers(self, lines: &[String]) -> Result<Vec<(String, String)>, &'static str> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                if self == Style::Strict {
                    return Err("a folded line");
                }
                if let Some((_, value)) = headers.last_mut() {
                    value.push_str(line);
                }
                continue;
            }
            match line.split_once(':') {
                None if self == Style::Strict => return Err("a line without a colon"),
                None => {}
                Some((name, _)) if self == Style::Strict && name.trim() != name => {
                    return Err("a blank beside a name");
                }
                // Names become variables in some languages, where a dash is no letter.
                Some((name, value)) => headers.push((
                    name.trim().to_ascii_lowercase().replace(['_', '.'], "-"),
                    value.trim().to_owned(),
                )),
            }
        }
        Ok(headers)
    }

    /// The body and the bytes it took; None: more is needed.
    fn body(
        self,
        lengths: &[&str],
        codings: &[&str],
        input: &[u8],
    ) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
        if self == Style::Strict {
            let framings = lengths.len() + codings.len();
            if framings > 1 || codings.iter().any(|c| *c != "chunked") {
                return Err("more than one framing");
            }
        }
        let loose = |coding: &&str| coding.to_ascii_lowercase().contains("chunked");
        let chunked = codings.iter().any(loose);
        let length = match self {
            Style::LengthFirst => lengths.first(),
            _ => lengths.last(),
        };
        match (self, length, chunked) {
            (Style::LengthFirst, Some(length), _) | (_, Some(length), false) => {
                let length = digits(length);
                let whole = input.get(..length).map(|b| (b.to_vec(), length));
                Ok(whole)
            }
            (_, _, true) => self.chunks(input),
            (_, None, false) => Ok(Some((Vec::new(), 0))),
        }
    }

    fn chunks(self, input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
        let (mut body, mut at) = (Vec::new(), 0);
        loop {
            let Some((text, next)) = line(input, at) else {
                return Ok(None);
            };
            let hex = text.split(';').next().unwrap_or("");
            let size = usize::from_str_radix(hex, 16);
            let size = match (size, self) {
                (Ok(size), _) => size,
                (Err(_), Style::Strict) => return Err("a chunk's size"),
                (Err(_), _) => digits(hex.trim()),
            };
            at = next;
            if size == 0 {
                return Ok(trailers(input, at).map(|end| (body, end)));
            }
            let Some(data) = input.get(at..at.saturating_add(size)) else {
                return Ok(None);
            };
            body.extend_from_slice(data);
            at += size;
            let Some((after, next)) = line(input, at) else {
                return Ok(None);
            };
            if self == Style::Strict && !after.is_empty() {
                return Err("a chunk's end");
            }
            at = next;
        }
    }
}

fn trailers(input: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let (text, next) = line(input, at)?;
        at = next;
        if text.is_empty() {
            return Some(at);
        }
    }
}

fn line(input: &[u8], at: usize) -> Option<(&str, usize)> {
    let end = at + input.get(at..)?.iter().position(|b| *b == b'\n')?;
    let text = input[at..end]
        .strip_suffix(b"\r")
        .unwrap_or(&input[at..end]);
    Some((std::str::from_utf8(text).unwrap_or("?"), end + 1))
}

/// As much of it as is a number.
fn digits(text: &str) -> usize {
    let text = text.trim_start_matches('+');
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().unwrap_or(0)
}

#[test]
fn readers_differ_where_they_should() {
    let both = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n";
    let body = |style: Style| match style.read(both) {
        Whole(seen, taken) => Some((seen.body.len(), taken == both.len())),
        _ => None,
    };
    assert_eq!(body(Style::Strict), None);
    assert_eq!(body(Style::LengthFirst), Some((3, false)));
    assert_eq!(body(Style::ChunksFirst), Some((0, true)));
    let folded = b"GET /x HTTP/1.1\nHost : a\n b\n\n";
    assert!(matches!(Style::Strict.read(folded), Nonsense(_)));
    assert!(matches!(Style::ChunksFirst.read(folded), Whole(seen, _) if seen.host == "a b"));
}
