//! One record, in the original's fields.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hyper::http::{HeaderMap, Version, header};
use jiff::tz::TimeZone;
use serde::Serialize;

use hancock_proto::time::Timestamp;

use super::glimpse::Glimpse;
use crate::control::now;

/// Version of the original these records come from, as `<configuration>-<version>.<scripts>`.
const VERSION: &str = "-1.1.2.0";

/// Attempts of one request, for its record.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    attempts: Vec<(String, u16)>,
    began: Option<Instant>,
}

impl Trace {
    /// An attempt on `peer` begins.
    pub(crate) fn attempt(&mut self, peer: String) {
        self.attempts.push((peer, 0));
        self.began = Some(Instant::now());
    }

    /// The current attempt came to this status.
    pub(crate) fn outcome(&mut self, status: u16) {
        if let Some((_, outcome)) = self.attempts.last_mut() {
            *outcome = status;
        }
    }

    fn peers(&self) -> String {
        let peers = self.attempts.iter().map(|(peer, _)| peer.as_str());
        joined(peers.collect())
    }

    fn statuses(&self) -> String {
        let texts: Vec<String> = self.attempts.iter().map(|(_, s)| status(*s)).collect();
        joined(texts.iter().map(String::as_str).collect())
    }

    /// Seconds; not one number, not one attempt.
    fn seconds(&self) -> Option<f64> {
        let began = self.began.filter(|_| self.attempts.len() == 1)?;
        Some((began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0)
    }
}

/// What is told of one request.
pub(crate) struct Record<'a> {
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: &'a str,
    pub(crate) target: String,
    pub(crate) version: Option<Version>,
    pub(crate) headers: Option<&'a HeaderMap>,
    /// 0: the client went without an answer.
    pub(crate) status: u16,
    pub(crate) sent: usize,
    pub(crate) began: Timestamp,
    pub(crate) trace: &'a Trace,
}

/// The line's members.
#[derive(Serialize)]
struct Line<'a> {
    node_type: &'static str,
    node_host: &'a str,
    node_name: &'a str,
    node_version: &'static str,
    remote_addr: String,
    remote_user: String,
    timestamp: String,
    method: &'a str,
    scheme: &'static str,
    http_host: String,
    request_uri: &'a str,
    protocol: &'static str,
    status: String,
    body_bytes_sent: usize,
    referer: String,
    user_agent: String,
    content_type: String,
    content_length: i64,
    x_raw_uri: String,
    x_forwarded_for: String,
    x_request_id: String,
    upstream_addr: String,
    upstream_status: String,
    upstream_response_time: f64,
    request_time: f64,
    x_error_code: i64,
}

static NO_TRACE: Trace = Trace {
    attempts: Vec::new(),
    began: None,
};

impl<'a> Record<'a> {
    /// Of a request that was refused before it was one.
    pub(super) fn refused(client: SocketAddr, status: u16, seen: &'a Glimpse<'_>) -> Self {
        Self {
            client: Some(client.ip()),
            method: seen.method,
            target: seen.target.clone(),
            version: seen.version,
            headers: Some(&seen.headers),
            status,
            sent: 0,
            began: now(),
            trace: &NO_TRACE,
        }
    }
}

impl Record<'_> {
    /// The record as a line of JSON.
    pub(super) fn line(&self, node: &str) -> Vec<u8> {
        let length = self.header(header::CONTENT_LENGTH.as_str()).parse().ok();
        let line = Line {
            node_type: "slardar_access",
            node_host: node,
            node_name: node,
            node_version: VERSION,
            remote_addr: self.client.map_or_else(dash, |ip| ip.to_string()),
            remote_user: user(&self.header("authorization")).unwrap_or_else(dash),
            timestamp: timestamp(now()),
            method: self.method,
            scheme: "http",
            http_host: self.header("host"),
            request_uri: &self.target,
            protocol: protocol(self.version),
            status: status(if self.status == 0 { 499 } else { self.status }),
            body_bytes_sent: self.sent,
            referer: self.header("referer"),
            user_agent: self.header("user-agent"),
            content_type: self.header("content-type"),
            content_length: length.unwrap_or(-1),
            x_raw_uri: self.header("x-raw-uri"),
            x_forwarded_for: self.list("x-forwarded-for"),
            x_request_id: self.header("x-request-id"),
            upstream_addr: self.trace.peers(),
            upstream_status: self.trace.statuses(),
            upstream_response_time: self.trace.seconds().unwrap_or(-1.0),
            request_time: now().since(self.began).as_secs_f64(),
            x_error_code: -1,
        };
        // Text and finite numbers only: it cannot fail.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// All values of a header that is a list.
    fn list(&self, name: &str) -> String {
        let values = self.headers.into_iter().flat_map(|h| h.get_all(name));
        let texts: Vec<_> = values
            .map(|v| String::from_utf8_lossy(v.as_bytes()))
            .collect();
        joined(texts.iter().map(|text| &**text).collect())
    }

    fn header(&self, name: &str) -> String {
        let value = self.headers.and_then(|h| h.get(name));
        value.map_or_else(dash, |v| String::from_utf8_lossy(v.as_bytes()).into_owned())
    }
}

/// Who a client says it is, by the header `Authorization: Basic`.
fn user(header: &str) -> Option<String> {
    let (scheme, code) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    let text = base64(code.trim().trim_end_matches('='))?;
    let user = text.split(|b| *b == b':').next()?;
    (!user.is_empty()).then(|| String::from_utf8_lossy(user).into_owned())
}

fn base64(code: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(code.len());
    let (mut bits, mut held) = (0u32, 0);
    for letter in code.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

fn dash() -> String {
    "-".to_owned()
}

fn joined(parts: Vec<&str>) -> String {
    match parts.is_empty() {
        true => dash(),
        false => parts.join(", "),
    }
}

fn status(status: u16) -> String {
    match status {
        0 => dash(),
        some => some.to_string(),
    }
}

fn protocol(version: Option<Version>) -> &'static str {
    match version {
        Some(Version::HTTP_11) => "HTTP/1.1",
        Some(Version::HTTP_10) => "HTTP/1.0",
        _ => "-",
    }
}

/// `20/Nov/2026:06:51:33 +0000`.
fn timestamp(at: Timestamp) -> String {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    let local = at.to_zoned(TimeZone::system());
    local.strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retried_request_shows_both_attempts() {
        let mut trace = Trace::default();
        for (peer, outcome) in [("a:1", 502), ("b:2", 200)] {
            trace.attempt(peer.to_owned());
            trace.outcome(outcome);
        }
        let mut headers = HeaderMap::new();
        headers.insert("content-length", "5".parse().expect("a value"));
        let record = Record {
            client: None,
            method: "GET",
            target: "/x".to_owned(),
            version: Some(Version::HTTP_11),
            headers: Some(&headers),
            status: 200,
            sent: 3,
            began: now(),
            trace: &trace,
        };
        let line: serde_json::Value = serde_json::from_slice(&record.line("n")).expect("JSON");
        assert_eq!(line["upstream_addr"], "a:1, b:2");
        assert_eq!(line["upstream_status"], "502, 200");
        assert_eq!(line["upstream_response_time"], -1.0);
        assert_eq!(
            (&line["status"], &line["content_length"]),
            (&"200".into(), &5.into())
        );
        assert_eq!(line.as_object().map(serde_json::Map::len), Some(26));
        assert_eq!(timestamp(Timestamp(0)).len(), 26);
    }

    #[test]
    fn users_are_read_from_basic_authorization() {
        for (header, name) in [
            ("Basic YWxpY2U6c2VjcmV0", Some("alice")),
            ("basic Ym9iOg==", Some("bob")),
            ("Basic !", None),
            ("Basic", None),
            ("Bearer YWxpY2U6", None),
            ("-", None),
        ] {
            assert_eq!(user(header).as_deref(), name, "{header}");
        }
    }
}
