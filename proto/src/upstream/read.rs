//! Reads documents as tools for the original write them: in both forms, with numbers and names as those tools' languages have them.

mod order;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Level, Proxy, UpstreamDoc};

pub use order::order_of_clusters;

/// A document as it lies in a store, in the full form or the short one.
///
/// # Errors
/// The first thing wrong with it.
pub fn stored(text: &[u8]) -> Result<UpstreamDoc, String> {
    let mut whole: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| format!("no JSON object: {error}"))?;
    if !whole.contains_key("cluster") {
        let servers = whole
            .remove("servers")
            .ok_or("neither cluster nor servers")?;
        let level = Map::from_iter([("servers".to_owned(), servers)]);
        whole.insert("cluster".to_owned(), Value::Array(vec![level.into()]));
    }
    if !whole["cluster"].is_array() && !whole["cluster"].is_object() {
        return Err("cluster: neither a list of levels nor an object of named ones".to_owned());
    }
    document(whole, &order_of_clusters(text))
}

/// A full document, from its members and the [`order_of_clusters`] of its text.
///
/// # Errors
/// The first thing wrong with it, after the path of the member.
pub fn document(mut whole: Map<String, Value>, order: &[String]) -> Result<UpstreamDoc, String> {
    let cluster = whole.insert("cluster".to_owned(), Value::Array(Vec::new()));
    let cluster = levels(cluster.unwrap_or_default(), order)?;
    loosely_written(&mut whole);
    let doc: UpstreamDoc = typed(Value::Object(whole), "")?;
    if let Some(member) = doc.proxy.iter().flat_map(Proxy::strangers).next() {
        return Err(format!("{member}: unknown member"));
    }
    Ok(UpstreamDoc { cluster, ..doc })
}

/// The refusal names the member, under `at`.
fn typed<T: DeserializeOwned>(value: Value, at: &str) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.into_inner());
        match format!("{at}{path}").as_str() {
            "" | "." => problem.to_string(),
            path => format!("{path}: {problem}"),
        }
    })
}

/// Levels, named ones in the order of the text.
fn levels(cluster: Value, order: &[String]) -> Result<Vec<Level>, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let full = br#"{"cluster":[{"servers":[{"host":"a","port":1}]}],"timeout":2}"#;
        let short = br#"{"servers":[{"host":"a","port":"1"}],"timeout":2}"#;
        assert_eq!(stored(full), stored(short));
        let named = br#"{"cluster":{"z":{"servers":[]},"b":{"servers":[]}},"servers":[]}"#;
        let names = stored(named).map(|doc| doc.cluster[0].name.clone());
        assert_eq!(names, Ok(Some("z".to_owned())));
    }

    #[test]
    fn what_is_no_document_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            ("{}", "neither cluster nor servers"),
            (r#"{"cluster":7}"#, "cluster: neither"),
            (
                r#"{"servers":[{"port":1}]}"#,
                "cluster[0].servers[0]: missing field `host`",
            ),
            (
                r#"{"servers":[{"host":"a","port":1,"weight":"x"}]}"#,
                "weight",
            ),
            (
                r#"{"servers":[{"host":"a","port":1}],"proxy":{"x":1}}"#,
                "proxy.x: unknown member",
            ),
        ] {
            let told = stored(text.as_bytes()).expect_err(text);
            assert!(told.contains(reason), "{text}: {told}");
        }
    }
}
