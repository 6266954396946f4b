//! What commands do.

use std::net::SocketAddr;

use hancock_balancer_core::framed::{Command, Method, Reply, Topic};
use serde_json::{Map, Value, json};

use crate::admin::{status, write};
use crate::control::Control;

/// Does what was asked.
pub(super) fn carry_out(
    command: &Command,
    control: &Control,
    client: SocketAddr,
    body: &[u8],
) -> Reply {
    let near = client.ip().to_canonical().is_loopback();
    match (command.topic, command.method) {
        (Topic::Upstream, Method::Get) => show(&command.name, control),
        (Topic::Upstream, Method::Post) => Reply::Error("POST_upstreamnot allowed".to_owned()),
        (Topic::Code, Method::Get) => Reply::Data(code(&command.name).to_string()),
        _ if !near => Reply::Error("not allowed from another machine".to_owned()),
        (Topic::Upstream, Method::Put) => done(put(control, &command.name, body)),
        (Topic::Upstream, _) => {
            done(write::delete(control, &command.name).map_err(|refused| refused.message))
        }
        (Topic::Code, _) => Reply::Error("not supported yet".to_owned()),
    }
}

fn show(name: &str, control: &Control) -> Reply {
    match name {
        "status" => Reply::Data(document(control).to_string()),
        "info" => Reply::Data(json!(control.documents()).to_string()),
        _ => Reply::Error("not allowed".to_owned()),
    }
}

/// Nothing is ever loaded, and that is what is told.
fn code(name: &str) -> Value {
    match name {
        "info" => json!({"global_version": 0, "commit_version": "0", "modules": {}}),
        _ => json!({}),
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
