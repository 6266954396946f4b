//! Everybody gets their own answer, whatever an origin answers to somebody else.

use std::collections::HashMap;
use std::sync::Arc;

use super::cases::{bytes_of, lines};
use super::origins::{Origin, Script, Scripted};
use super::reader::Style;
use super::{ANSWERS, Front};
use crate::world::WEB;

/// Others that come after each case; enough to reach any connection it may have left behind.
const OTHERS: usize = 3;

struct Case {
    name: &'static str,
    method: &'static str,
    /// Any of them.
    told: Vec<&'static str>,
    answer: Scripted,
}

impl Case {
    fn new(fields: &[&'static str]) -> Self {
        let [name, method, told, bytes] = *fields else {
            panic!("not a case: {fields:?}");
        };
        let (bytes, close) = match bytes.strip_suffix("<close>") {
            Some(bytes) => (bytes, true),
            None => (bytes, false),
        };
        let bytes = bytes_of(bytes, name);
        Self {
            name,
            method,
            told: told.split('/').collect(),
            answer: Scripted { bytes, close },
        }
    }
}

#[tokio::test]
async fn everybody_gets_their_own_answer() {
    let cases: Vec<Case> = lines(ANSWERS).map(|fields| Case::new(&fields)).collect();
    assert!(cases.len() >= 70, "only {} cases", cases.len());
    let script = cases.iter().map(|c| (target(c.name), c.answer.clone()));
    let script: Script = Arc::new(script.collect::<HashMap<_, _>>());
    let origin = Origin::reading(Style::Strict, script).await;
    let front = Front::new(origin.port).await;
    let mut findings = Vec::new();
    for case in &cases {
        if let Err(finding) = front.try_answer(case).await {
            findings.push(format!("{}: {finding}", case.name));
        }
    }
    front.stop().await;
    let findings = (findings.len(), findings.join("\n"));
    assert!(findings.0 == 0, "{} findings\n{}", findings.0, findings.1);
}

fn target(name: &str) -> String {
    format!("/case/{name}")
}

impl Front {
    async fn try_answer(&self, case: &Case) -> Result<(), String> {
        let sent = format!(
            "{} {} HTTP/1.1\r\nHost: {WEB}\r\n\r\n{}",
            case.method,
            target(case.name),
            own(case.name, 0)
        );
        let bytes = self.exchange(sent.as_bytes()).await?;
        let wrong = |why: &str| {
            let text = String::from_utf8_lossy(&bytes);
            Err(format!("{why}, told {:?} is expected: {text:?}", case.told))
        };
        match answers(&bytes, case.method) {
            Err(why) => return wrong(&why),
            Ok(told) => match &told[..] {
                [] => return wrong("no answer"),
                [first, ..] if !case.told.contains(&first.summary().as_str()) => {
                    return wrong(&format!("told {}", first.summary()));
                }
                [_] => {}
                [first, second] if first.whole && second.is_own(case.name, 0) => {}
                _ => return wrong("something foreign behind the answer"),
            },
        }
        for n in 1..=OTHERS {
            let bytes = self.exchange(own(case.name, n).as_bytes()).await?;
            match answers(&bytes, "GET").as_deref() {
                Ok([only]) if only.is_own(case.name, n) => {}
                _ => {
                    return Err(format!(
                        "client {n} after it was told {:?}",
                        String::from_utf8_lossy(&bytes)
                    ));
                }
            }
        }
        Ok(())
    }

    async fn exchange(&self, sent: &[u8]) -> Result<Vec<u8>, String> {
        super::exchange(self.proxy, sent, sent.len()).await
    }
}

fn own(name: &str, n: usize) -> String {
    format!("GET /own/{name}/{n} HTTP/1.1\r\nHost: {WEB}\r\nConnection: close\r\n\r\n")
}

/// An answer as a client of good manners reads it.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Vec<u8>,
    /// False: the connection ended within it.
    whole: bool,
}

impl Answer {
    fn summary(&self) -> String {
        match (self.status, self.whole) {
            (502, _) => "502".to_owned(),
            (status, true) => format!("{status}:{}", self.body.len()),
            (status, false) => format!("{status} cut"),
        }
    }

    fn is_own(&self, name: &str, n: usize) -> bool {
        let wanted = format!("GET /own/{name}/{n}");
        self.whole && self.status == 200 && self.body == wanted.as_bytes()
    }
}

/// All answers in `bytes`, the first to a request of `method`; those before an answer are left out.
fn answers(mut bytes: &[u8], method: &str) -> Result<Vec<Answer>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let bare = all.is_empty() && method == "HEAD";
        let (answer, taken) = answer(bytes, bare)?;
        bytes = &bytes[taken..];
        if answer.status >= 200 {
            all.push(answer);
        }
    }
    Ok(all)
}

fn answer(bytes: &[u8], bare: bool) -> Result<(Answer, usize), String> {
    let end = find(bytes, b"\r\n\r\n").ok_or("a head without end")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|e| e.to_string())?;
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .and_then(|s| s.get(..3)?.parse().ok());
    let status: u16 = status.ok_or_else(|| format!("no status line: {head:?}"))?;
    let values = |name: &str| -> Vec<String> {
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        let ours = fields.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        ours.map(|(_, v)| v.trim().to_ascii_lowercase()).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    if lengths.len() + codings.len() > 1 {
        return Err(format!("two framings: {head:?}"));
    }
    let rest = &bytes[end..];
    let (body, taken) = match (lengths.first(), codings.first()) {
        _ if bare || status < 200 || matches!(status, 204 | 304) => (Some(Vec::new()), 0),
        (Some(length), _) => {
            let length: usize = length.parse().map_err(|_| format!("a length: {head:?}"))?;
            (rest.get(..length).map(<[u8]>::to_vec), length)
        }
        (_, Some(_)) => chunks(rest)?,
        // Until the end of the connection, which may be anywhere.
        (None, None) => (Some(rest.to_vec()), rest.len()),
    };
    let whole = body.is_some();
    let taken = if whole { end + taken } else { bytes.len() };
    let body = body.unwrap_or_default();
    Ok((
        Answer {
            status,
            body,
            whole,
        },
        taken,
    ))
}

fn chunks(bytes: &[u8]) -> Result<(Option<Vec<u8>>, usize), String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else {
            return Ok((None, bytes.len()));
        };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        let size =
            usize::from_str_radix(&line, 16).map_err(|_| format!("a chunk's size: {line}"))?;
        at += end + 2;
        if size == 0 {
            let end = find(&bytes[at - 2..], b"\r\n\r\n");
            return Ok((end.map(|_| body), at + end.unwrap_or(0) + 2));
        }
        let Some(data) = bytes.get(at..at + size + 2) else {
            return Ok((None, bytes.len()));
        };
        body.extend_from_slice(&data[..size]);
        at += size + 2;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}
