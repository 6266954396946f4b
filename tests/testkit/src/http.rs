//! One HTTP request over a fresh connection, blocking, for looking at something once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Time the whole exchange may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body as text.
    pub body: String,
}

impl Response {
    /// The value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first word of the body: the demo app's version.
    pub fn first_word(&self) -> &str {
        self.body.split_whitespace().next().unwrap_or_default()
    }
}

/// `GET path` with the given `Host`.
///
/// # Errors
/// No complete answer within 5 s; says how far it came.
pub fn get(address: SocketAddr, host: &str, path: &str) -> Result<Response, String> {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
    )
}

/// Sends `text` verbatim and reads until the other side closes.
///
/// # Errors
/// As [`get`].
pub fn request(address: SocketAddr, text: &str) -> Result<Response, String> {
    let what = text.lines().next().unwrap_or_default().to_owned();
    exchange(address, text).map_err(|error| format!("{what} to {address}: {error}"))
}

fn exchange(address: SocketAddr, text: &str) -> Result<Response, String> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).map_err(|e| e.to_string())?;
    over(stream, |stream| stream, text)
}

/// As [`request`], over a connection that is open already. `tcp` gives the connection below, for its deadline.
///
/// # Errors
/// As [`get`].
pub fn over<S: Read + Write>(
    mut stream: S,
    tcp: impl Fn(&S) -> &TcpStream,
    text: &str,
) -> Result<Response, String> {
    let end = Instant::now() + DEADLINE;
    stream
        .write_all(text.as_bytes())
        .map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    let mut block = [0; 16 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("no complete answer after {DEADLINE:?}"));
        }
        tcp(&stream)
            .set_read_timeout(Some(left))
            .map_err(|e| e.to_string())?;
        match stream.read(&mut block) {
            Ok(0) => return parse(&answer),
            Ok(n) => answer.extend_from_slice(&block[..n]),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn parse(answer: &[u8]) -> Result<Response, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("closed after {:?}", &*text))?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|l| l.split(' ').nth(1)?.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers
        .iter()
        .any(|(n, v)| n == "transfer-encoding" && v == "chunked");
    let body = if chunked {
        unchunk(body)?
    } else {
        body.to_owned()
    };
    let length = headers
        .iter()
        .find(|(n, _)| n == "content-length")
        .and_then(|(_, v)| v.parse::<usize>().ok());
    if length.is_some_and(|length| length > body.len()) {
        return Err(format!(
            "body ended after {} of {} bytes",
            body.len(),
            length.unwrap_or_default()
        ));
    }
    Ok(Response {
        status: status.ok_or_else(|| format!("no status in {head:?}"))?,
        headers,
        body,
    })
}

fn unchunk(mut rest: &str) -> Result<String, String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest
            .split_once("\r\n")
            .ok_or("body ended inside a chunk's size")?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|e| e.to_string())?;
        if size == 0 {
            return Ok(body);
        }
        body.push_str(after.get(..size).ok_or("body ended inside a chunk")?);
        rest = after.get(size + 2..).ok_or("body ended after a chunk")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_refused() {
        let plain = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nv1 hi").unwrap();
        assert_eq!(
            (plain.status, plain.first_word(), plain.header("x-a")),
            (200, "v1", Some("b"))
        );
        let chunked = parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap();
        assert_eq!(chunked.body, "abcde");
        assert!(
            parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
                .unwrap_err()
                .contains("3 of 9")
        );
        assert!(parse(b"HTTP/1.1 200").is_err());
    }
}
