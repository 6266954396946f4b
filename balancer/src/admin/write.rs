//! Changes through the management interface: the original's two forms of a document, its refusals word for word and in its order, and
//! the stricter ones where the original would have harmed itself.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use hancock_balancer_core::upstream::{Upstream, clipped};
use hancock_proto::ids::AppName;
use hancock_proto::upstream::UpstreamDoc;
use hancock_proto::upstream::read::{self, order_of_clusters};

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
    let given = given(body)?;
    free(control, name)?;
    let doc = match given {
        Given::Full(whole) => document(whole, &order_of_clusters(body))?,
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

/// Names a master or a registry owns are written by their owner alone.
fn free(control: &Control, name: &str) -> Done<()> {
    let owned = match (control.owner(name), control.registry_of(name)) {
        (Some(app), _) if app == AppName::by_hand() => {
            "the master; `hancock zone` changes it".to_owned()
        }
        (Some(app), _) => format!("app {app}; change the app's spec instead"),
        (None, Some(registry)) => format!("registry {registry}; change it there"),
        (None, None) => return Ok(()),
    };
    let message = format!("upstream {name} is owned by {owned}");
    Err(Refused::new(StatusCode::CONFLICT, message))
}

/// Whether a balancer would take this text as the document of `name`, were there none before.
///
/// # Errors
/// The refusal, in the words of the management interface.
pub fn check(name: &str, body: &[u8]) -> Result<(), String> {
    let checked = || {
        let doc = match given(body)? {
            Given::Full(whole) => document(whole, &order_of_clusters(body))?,
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

fn given(body: &[u8]) -> Done<Given> {
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

fn document(whole: Map<String, Value>, order: &[String]) -> Done<UpstreamDoc> {
    read::document(whole, order).or_else(|problem| bad(format!("document invalid: {problem}")))
}
