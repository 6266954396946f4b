//! What a line asks for, and what it is answered.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::admin::{status, write};
use crate::control::Control;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Done,
    Data(String),
    Error(String),
}

impl Reply {
    /// Length of what follows, code, text.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (code, text) = match self {
            Reply::Done => (0u32, "OK"),
            Reply::Data(text) => (1, text.as_str()),
            Reply::Error(text) => (2, text.as_str()),
        };
        let length = u32::try_from(text.len() + 4).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(text.len() + 8);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(text.as_bytes());
        out
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Upstream,
    Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Put,
    Post,
    Load,
    Delete,
}

/// A line that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    method: Method,
    topic: Topic,
    name: &'a str,
}

impl<'a> Command<'a> {
    /// Refusals are in the original's words.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, &'static str> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| "command invalid")?;
        let mut fields = text.split([' ', '\t']).filter(|f| !f.is_empty());
        let (Some(method), Some(topic), Some(name), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("command invalid");
        };
        let topic = match topic.to_ascii_lowercase().as_str() {
            "upstream" => Topic::Upstream,
            "code" => Topic::Code,
            _ => return Err("topic invalid"),
        };
        let method = match method.to_ascii_lowercase().as_str() {
            "get" => Method::Get,
            "put" => Method::Put,
            "post" => Method::Post,
            "load" if topic == Topic::Code => Method::Load,
            "delete" => Method::Delete,
            _ => return Err("method invalid"),
        };
        Ok(Self {
            method,
            topic,
            name,
        })
    }

    /// Whether a length and a body follow the line.
    pub(super) fn has_body(&self) -> bool {
        match self.topic {
            Topic::Upstream => matches!(self.method, Method::Put | Method::Post),
            Topic::Code => matches!(self.method, Method::Post | Method::Load),
        }
    }

    /// Does what was asked.
    pub(super) fn carry_out(&self, control: &Control, client: SocketAddr, body: &[u8]) -> Reply {
        let near = client.ip().to_canonical().is_loopback();
        match (self.topic, self.method) {
            (Topic::Upstream, Method::Get) => self.show(control),
            (Topic::Upstream, Method::Post) => Reply::Error("POST_upstreamnot allowed".to_owned()),
            (Topic::Code, Method::Get) => Reply::Data(self.code().to_string()),
            _ if !near => Reply::Error("not allowed from another machine".to_owned()),
            (Topic::Upstream, Method::Put) => done(put(control, self.name, body)),
            (Topic::Upstream, _) => {
                done(write::delete(control, self.name).map_err(|refused| refused.message))
            }
            (Topic::Code, _) => Reply::Error("not supported yet".to_owned()),
        }
    }

    fn show(&self, control: &Control) -> Reply {
        match self.name {
            "status" => Reply::Data(document(control).to_string()),
            "info" => Reply::Data(json!(control.documents()).to_string()),
            _ => Reply::Error("not allowed".to_owned()),
        }
    }

    /// Nothing is ever loaded, and that is what is told.
    fn code(&self) -> Value {
        match self.name {
            "info" => json!({"global_version": 0, "commit_version": "0", "modules": {}}),
            _ => json!({}),
        }
    }
}

fn done(outcome: Result<(), String>) -> Reply {
    outcome.map_or_else(Reply::Error, |()| Reply::Done)
}

/// The status document of the TCP side, with its ports.
fn document(control: &Control) -> Value {
    let mut document = status::document(control);
    let Some(doors) = control.doors() else {
        return document;
    };
    let ports = doors.lines().into_iter().map(|door| {
        let line =
            json!({"address": door.address, "open": door.error.is_none(), "error": door.error});
        (door.port.to_string(), line)
    });
    document["hancock"]["ports"] = Value::Object(ports.collect());
    document
}

/// In the short form only `servers` is used; the rest is as through HTTP.
fn put(control: &Control, name: &str, body: &[u8]) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !name.bytes().all(allowed) {
        return Err("upstream name invalid".to_owned());
    }
    let invalid = || "invalid body".to_owned();
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return Err(invalid());
    };
    let document = document_of(object).ok_or_else(invalid)?;
    let document = Value::Object(document).to_string();
    write::put(control, name, document.as_bytes()).map_err(|refused| refused.message)
}

fn document_of(mut object: Map<String, Value>) -> Option<Map<String, Value>> {
    let is_table = |key: &str| {
        object
            .get(key)
            .is_some_and(|v| v.is_object() || v.is_array())
    };
    match (is_table("cluster"), is_table("servers")) {
        (true, _) => Some(object),
        (false, true) => {
            let members = ["servers", "cluster"];
            object.retain(|key, _| members.contains(&key.as_str()));
            Some(object)
        }
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_that_are_refused() {
        for (line, message) in [
            ("", "command invalid"),
            ("GET", "command invalid"),
            ("GET upstream", "command invalid"),
            ("a b c d", "command invalid"),
            ("GET nothing x", "topic invalid"),
            ("FOO upstream x", "method invalid"),
            ("LOAD upstream x", "method invalid"),
            ("TRACE code x", "method invalid"),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Err(message), "{line}");
        }
        assert_eq!(Command::parse(b"GET upstream \xff"), Err("command invalid"));
    }

    #[test]
    fn words_in_any_case_and_blanks_in_any_number() {
        let command = Command::parse(b"  pUt   UPSTREAM  Name\r").unwrap();
        assert_eq!(
            command,
            Command {
                method: Method::Put,
                topic: Topic::Upstream,
                name: "Name"
            }
        );
        assert!(command.has_body());
        assert!(!Command::parse(b"PUT code x").unwrap().has_body());
        assert!(Command::parse(b"load code x").unwrap().has_body());
    }

    #[test]
    fn replies_are_framed() {
        assert_eq!(Reply::Done.encode(), b"\0\0\0\x06\0\0\0\0OK");
        assert_eq!(
            Reply::Error("no".into()).encode(),
            b"\0\0\0\x06\0\0\0\x02no"
        );
        assert_eq!(Reply::Data("{}".into()).encode(), b"\0\0\0\x06\0\0\0\x01{}");
    }
}
