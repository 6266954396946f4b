//! Changes through the management interface: the original's two forms of a document, its refusals word for word and in its order, and
//! the stricter ones where the original would have harmed itself.

mod order;

use std::sync::Arc;

use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use hancock_balancer_core::upstream::{Upstream, clipped};
use hancock_proto::ids::AppName;
use hancock_proto::upstream::{Level, Proxy, UpstreamDoc};

use crate::control::Control;

/// Why a change was not made.
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: clipped(message.into()),
        }
    }
}

type Done<T> = Result<T, Refused>;

/// Numbers of a server that may be left out.
const NUMBERS: [&str; 3] = ["weight", "max_fails", "fail_timeout"];

fn bad<T>(message: impl Into<String>) -> Done<T> {
    Err(Refused::new(StatusCode::BAD_REQUEST, message))
}

pub(crate) fn put(control: &Control, name: &str, body: &[u8]) -> Done<()> {
    let given = read(body)?;
    free(control, name)?;
    let doc = match given {
        Given::Full(whole) => document(whole, &order::of_clusters(body))?,
        Given::Short { options, servers } => {
            document(merge(control, name, options, servers)?, &[])?
        }
    };
    match control.apply(name, Some(Arc::new(doc))) {
        Ok(()) => Ok(()),
        Err(error) => bad(error.to_string()),
    }
}

pub(crate) fn delete(control: &Control, name: &str) -> Done<()> {
    free(control, name)?;
    if control.document(name).is_none() {
        return bad(format!("upstream {name} not found"));
    }
    match control.apply(name, None) {
        Ok(()) => Ok(()),
        Err(error) => bad(error.to_string()),
    }
}

/// Names a master owns are written by the master alone.
fn free(control: &Control, name: &str) -> Done<()> {
    match control.owner(name) {
        None => Ok(()),
        Some(app) => {
            let message = match app == AppName::by_hand() {
                true => format!("upstream {name} is the master's; `hancock zone` changes it"),
                false => {
                    format!("upstream {name} is owned by app {app}; change the app's spec instead")
                }
            };
            Err(Refused::new(StatusCode::CONFLICT, message))
        }
    }
}

/// Whether a balancer would take this text as the document of `name`, were there none before.
///
/// # Errors
/// The refusal, in the words of the management interface.
pub fn check(name: &str, body: &[u8]) -> Result<(), String> {
    let checked = || {
        let doc = match read(body)? {
            Given::Full(whole) => document(whole, &order::of_clusters(body))?,
            Given::Short { options, servers } => document(with_servers(options, servers), &[])?,
        };
        let upstream = Upstream::new(name, Arc::new(doc));
        upstream.map_or_else(|error| bad(error.to_string()), |_| Ok(()))
    };
    checked().map_err(|refused: Refused| refused.message)
}

enum Given {
    Full(Map<String, Value>),
    Short {
        options: Map<String, Value>,
        servers: Value,
    },
}

fn read(body: &[u8]) -> Done<Given> {
    if body.is_empty() {
        return bad("body too big");
    }
    let mut object = match serde_json::from_slice(body) {
        Err(_) | Ok(Value::Bool(false)) => return bad("decode body error"),
        Ok(Value::Object(object)) => object,
        Ok(_) => return bad("body invalid"),
    };
    if object.contains_key("hancock") {
        return bad("the member hancock is written by a master only");
    }
    let servers = object.get("servers").is_some_and(is_table);
    match object.get("cluster") {
        Some(cluster) if is_table(cluster) => {
            check_cluster(cluster)?;
            Ok(Given::Full(object))
        }
        Some(_) if servers => bad("cluster invalid"),
        _ if servers => {
            let servers = object.remove("servers").unwrap_or_default();
            check_servers(&servers)?;
            Ok(Given::Short {
                options: object,
                servers,
            })
        }
        _ => bad("body invalid"),
    }
}

fn is_table(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
}

/// Elements of a list, or of an object in its order.
fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(object) => object.values().collect(),
        _ => Vec::new(),
    }
}

fn check_cluster(cluster: &Value) -> Done<()> {
    if is_empty(cluster) {
        return bad("can not update empty level");
    }
    for level in elements(cluster) {
        if !is_table(level) || is_empty(level) {
            return bad("can not update empty level");
        }
        check_servers(level.get("servers").unwrap_or(&Value::Null))?;
    }
    Ok(())
}

fn check_servers(servers: &Value) -> Done<()> {
    // The original takes an object and is left with an upstream without servers.
    if !servers.is_array() || is_empty(servers) {
        return bad("servers invalid");
    }
    for server in elements(servers) {
        if !is_table(server) {
            return bad("server must be a table");
        }
        let given = |key| server.get(key).is_some_and(|v| *v != Value::Bool(false));
        if !given("host") || !given("port") {
            return bad("no server.host nor server.port found");
        }
        // The original computes with whatever is given.
        let null = |name: &&&str| server.get(**name).is_some_and(Value::is_null);
        if let Some(name) = NUMBERS.iter().find(null) {
            return bad(format!("{name} must be a number"));
        }
    }
    Ok(())
}

/// The short form: options of the document there is stay, those given override, its servers are replaced.
fn merge(
    control: &Control,
    name: &str,
    options: Map<String, Value>,
    servers: Value,
) -> Done<Map<String, Value>> {
    let existing = control
        .document(name)
        .map(|doc| serde_json::to_value(&*doc));
    let mut whole = match existing {
        Some(Ok(Value::Object(object))) => object,
        _ => Map::new(),
    };
    whole.extend(options);
    Ok(with_servers(whole, servers))
}

/// One level, of these servers.
fn with_servers(mut whole: Map<String, Value>, servers: Value) -> Map<String, Value> {
    let level = Map::from_iter([("servers".to_owned(), servers)]);
    whole.insert(
        "cluster".to_owned(),
        Value::Array(vec![Value::Object(level)]),
    );
    whole
}

fn document(mut whole: Map<String, Value>, order: &[String]) -> Done<UpstreamDoc> {
    let cluster = whole.insert("cluster".to_owned(), Value::Array(Vec::new()));
    let cluster = levels(cluster.unwrap_or_default(), order)?;
    loosely_written(&mut whole);
    let doc: UpstreamDoc = typed(Value::Object(whole), "")?;
    if let Some(member) = doc.proxy.iter().flat_map(Proxy::strangers).next() {
        return bad(format!("document invalid: {member}: unknown member"));
    }
    Ok(UpstreamDoc { cluster, ..doc })
}

/// The refusal names the member, under `at`.
fn typed<T: DeserializeOwned>(value: Value, at: &str) -> Done<T> {
    serde_path_to_error::deserialize(value).or_else(|error| {
        let (path, problem) = (error.path().to_string(), error.into_inner());
        match format!("{at}{path}").as_str() {
            "" | "." => bad(format!("document invalid: {problem}")),
            path => bad(format!("document invalid: {path}: {problem}")),
        }
    })
}

/// Levels, named ones in the order of the text.
fn levels(cluster: Value, order: &[String]) -> Done<Vec<Level>> {
    let level = |value, at: &str| typed(with_numeric_ports(value), &format!("cluster{at}."));
    match cluster {
        Value::Array(list) => {
            let list = list.into_iter().enumerate();
            list.map(|(at, value)| level(value, &format!("[{at}]")))
                .collect()
        }
        Value::Object(mut named) => {
            let mut levels = Vec::with_capacity(named.len());
            for name in order {
                // A name given twice is in the order twice.
                if let Some(value) = named.remove(name) {
                    levels.push(Level {
                        name: Some(name.clone()),
                        ..level(value, &format!(".{name}"))?
                    });
                }
            }
            Ok(levels)
        }
        _ => Ok(Vec::new()),
    }
}

/// Some languages have one form for an empty list and an empty object, and one kind of number.
fn loosely_written(whole: &mut Map<String, Value>) {
    if let Some(opts) = whole.get_mut("http_opts") {
        empty_object(opts);
        if let Some(statuses) = opts.get_mut("statuses") {
            empty_object(statuses);
        }
    }
    if let Some(sensibility) = whole.get_mut("sensibility") {
        whole_number(sensibility);
    }
}

fn empty_object(value: &mut Value) {
    if value.as_array().is_some_and(Vec::is_empty) {
        *value = Value::Object(Map::new());
    }
}

fn whole_number(value: &mut Value) {
    let number = value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e9);
    if let Some(number) = number {
        *value = (number as i64).into();
    }
}

/// Ports given as digits, or with an empty fraction, route correctly in the original, so they are taken.
fn with_numeric_ports(mut level: Value) -> Value {
    let servers = level.get_mut("servers").and_then(Value::as_array_mut);
    for server in servers.into_iter().flatten() {
        let port = server.get("port").and_then(port);
        if let (Some(port), Some(object)) = (port, server.as_object_mut()) {
            object.insert("port".to_owned(), port.into());
        }
        if let Some(limit) = server.get_mut("max_fails") {
            whole_number(limit);
        }
    }
    level
}

fn port(given: &Value) -> Option<u16> {
    match given {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0)?;
            (0.0..=65535.0).contains(&whole).then_some(whole as u16)
        }
        _ => None,
    }
}
