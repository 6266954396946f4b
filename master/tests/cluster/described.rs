//! Every answer in these tests is held against the description of the API: path, status and body.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use hyper::HeaderMap;
use jsonschema::Validator;
use serde_json::{Value, json};

/// One exchange.
pub struct Exchange<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub asked: &'a [u8],
    pub status: u16,
    pub headers: &'a HeaderMap,
    pub answered: &'a [u8],
}

/// The description, with objects that have no members but those described.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document: Value = serde_json::from_str(hancock_master::openapi()).unwrap();
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    for (_, schema) in schemas
        .iter_mut()
        .filter(|(name, _)| *name != "Description")
    {
        let schema = schema.as_object_mut().unwrap();
        if schema.contains_key("properties") {
            schema.entry("additionalProperties").or_insert(json!(false));
        }
    }
    document
});

/// Fails unless the exchange is as described.
#[track_caller]
pub fn check(exchange: &Exchange<'_>) {
    let here = format!("{} {}: {}", exchange.method, exchange.path, exchange.status);
    let Some(operation) = operation(exchange) else {
        // What is not routed is answered with a mistake.
        let told = exchange.status == 404 || exchange.status == 405;
        assert!(told, "{here}: not described");
        let error: Value = serde_json::from_slice(exchange.answered).unwrap();
        return conforms(
            &here,
            &json!({"$ref": "#/components/schemas/ApiError"}),
            &error,
        );
    };
    if exchange.status == 200 && !exchange.asked.trim_ascii().is_empty() {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let asked = serde_json::from_slice(exchange.asked).unwrap();
        conforms(&format!("{here}, request"), schema, &asked);
    }
    let response = &operation["responses"][exchange.status.to_string()];
    assert!(response.is_object(), "{here}: the status is not described");
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let value = exchange.headers.get(name).map(|v| v.to_str().unwrap());
        conforms(&format!("{here}, {name}"), &header["schema"], &json!(value));
    }
    let kind = exchange.headers["content-type"].to_str().unwrap();
    let schema = &response["content"][kind]["schema"];
    assert!(schema.is_object(), "{here}: {kind} is not described");
    match kind {
        "application/x-ndjson" => {
            let lines = exchange.answered.split(|b| *b == b'\n');
            for line in lines.filter(|line| !line.is_empty()) {
                conforms(&here, schema, &serde_json::from_slice(line).unwrap());
            }
        }
        "application/octet-stream" => {}
        _ => conforms(
            &here,
            schema,
            &serde_json::from_slice(exchange.answered).unwrap(),
        ),
    }
}

/// What is said of a method at a path.
fn operation(exchange: &Exchange<'_>) -> Option<&'static Value> {
    let path = exchange.path.split('?').next().unwrap();
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let (_, item) = paths.iter().find(|(template, _)| fits(template, path))?;
    item.get(exchange.method.to_lowercase())
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    let mut pairs = template.clone().zip(path.clone());
    template.count() == path.count() && pairs.all(|(t, p)| t.starts_with('{') || t == p)
}

#[track_caller]
fn conforms(here: &str, schema: &Value, value: &Value) {
    let validator = validator(schema);
    let wrong: Vec<String> = validator
        .iter_errors(value)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(
        wrong.is_empty(),
        "{here} is not as described: {wrong:#?}\n{value:#}"
    );
}

/// One for each schema: making them takes longer than using them.
fn validator(schema: &Value) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    let entry = made.entry(schema.to_string());
    let validator = entry.or_insert_with(|| {
        let mut whole = schema.clone();
        whole["components"] = DOCUMENT["components"].clone();
        Arc::new(jsonschema::validator_for(&whole).unwrap())
    });
    validator.clone()
}
