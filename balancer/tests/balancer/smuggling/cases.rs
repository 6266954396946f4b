//! Cases as their files write them.

use crate::world::WEB;

/// One line of a file: its fields, as written.
pub fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text.lines().map(str::trim_start);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split(" | ").collect())
}

/// An answer that is expected.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    pub status: u16,
    /// Length of the body an origin must have seen.
    pub body: Option<usize>,
}

/// What a client sends, and what becomes of it.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub answers: Vec<Expected>,
    /// An origin may see the beginning of a request that is never finished.
    pub cut: bool,
    pub sent: Vec<u8>,
}

impl Case {
    pub fn all(text: &'static str) -> Vec<Self> {
        lines(text).map(|fields| Self::new(&fields)).collect()
    }

    fn new(fields: &[&'static str]) -> Self {
        let [name, answers, bytes] = *fields else {
            panic!("not a case: {fields:?}");
        };
        let (answers, cut) = match answers.strip_suffix(" cut") {
            Some(answers) => (answers, true),
            None => (answers, false),
        };
        let answers = answers.split(' ').map(|text| expected(text, name));
        Self {
            name,
            answers: answers.collect(),
            cut,
            sent: bytes_of(bytes, name),
        }
    }

    /// With the request that tells whether what follows is still told apart.
    pub fn with_last(&self) -> Vec<u8> {
        let last = format!(
            "GET /last/{} HTTP/1.1\r\nHost: {WEB}\r\nConnection: close\r\n\r\n",
            self.name
        );
        [&self.sent[..], last.as_bytes()].concat()
    }

    pub fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|a| a.status).collect()
    }
}

fn expected(text: &str, name: &str) -> Expected {
    let (status, body) = match text.split_once(':') {
        Some((status, "<#S>")) => (status, Some(smuggled(name).len())),
        Some((status, body)) => (status, Some(body.parse().unwrap())),
        None => (text, None),
    };
    Expected {
        status: status.parse().unwrap(),
        body,
    }
}

/// A whole request that nobody may see.
fn smuggled(name: &str) -> String {
    format!("GET /smuggled/{name} HTTP/1.1\r\nHost: {WEB}\r\n\r\n")
}

/// The bytes a file writes as `text`; its first lines explain how.
pub fn bytes_of(text: &str, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '~' => out.extend_from_slice(b"\r\n"),
            '\\' => rest = escape(rest, &mut out),
            '<' => {
                let (word, after) = rest.split_once('>').expect("an end of what < began");
                out.extend(word_of(word, name));
                rest = after;
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

fn escape<'a>(rest: &'a str, out: &mut Vec<u8>) -> &'a str {
    let (kind, mut after) = rest.split_at(1);
    out.push(match kind {
        "r" => b'\r',
        "n" => b'\n',
        "t" => b'\t',
        "0" => 0,
        "x" => {
            let (digits, behind) = after.split_at(2);
            after = behind;
            u8::from_str_radix(digits, 16).unwrap()
        }
        "\\" => b'\\',
        other => panic!("no such escape: {other}"),
    });
    after
}

fn word_of(word: &str, name: &str) -> Vec<u8> {
    match word {
        "G" => format!("GET /g/{name} HTTP/1.1\r\nHost: {WEB}\r\n").into(),
        "P" => format!("POST /p/{name} HTTP/1.1\r\nHost: {WEB}\r\n").into(),
        "S" => smuggled(name).into(),
        "#S" => smuggled(name).len().to_string().into(),
        "hS" => format!("{:x}", smuggled(name).len()).into(),
        repeated => {
            let (text, times) = repeated.rsplit_once('*').expect("a word or a repetition");
            bytes_of(text, name).repeat(times.parse().unwrap())
        }
    }
}

#[test]
fn bytes_are_written_as_the_file_says() {
    let bytes = bytes_of("<P>X: \\x7f\\0~~<ab~*2><hS>", "n");
    let wanted = b"POST /p/n HTTP/1.1\r\nHost: web.example\r\nX: \x7f\0\r\n\r\nab\r\nab\r\n2f";
    assert_eq!(bytes, wanted);
    let names: Vec<&str> = Case::all(super::REQUESTS).iter().map(|c| c.name).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(names.len(), once.len(), "names are given once");
}
