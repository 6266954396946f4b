//! What is true of every operation: the statuses of its mistakes, and that its answers have a description.

use serde_json::{Map, Value, json};

/// Statuses of mistakes and what they mean.
const MISTAKES: [(u16, &str); 9] = [
    (400, "Path, query, header or body cannot be read."),
    (401, "The request does not show the operator's token."),
    (404, "What is named does not exist."),
    (
        408,
        "The body came too slowly: 10 s without a byte of it, or 60 s for all.",
    ),
    (409, "Something is in the way; the code says what."),
    (413, "The body is larger than 1 MiB."),
    (
        422,
        "The spec, or what it would become, is refused; every problem is listed.",
    ),
    (500, "A mistake of the master's own."),
    (
        503,
        "Not now: no master leads, it has too much in hand (`busy`: nothing was done), its disk is full, or it is not known what became of a write (`outcome_unknown`): look, or send it again \
         with the same Idempotency-Key.",
    ),
];

/// Adds to each operation what its shape implies.
pub(super) fn complete(document: &mut Value) {
    plain(document);
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.filter_map(|(_, path)| path.as_object_mut()).flatten();
    for (_, operation) in operations {
        if let Some(body) = operation.get_mut("requestBody") {
            may_be_empty(body);
        }
        let implied = implied(operation);
        if let Some(responses) = operation["responses"].as_object_mut() {
            answers(responses, &implied, &schemas);
        }
    }
}

/// Adds the implied statuses and says what each answer is.
fn answers(responses: &mut Map<String, Value>, implied: &[u16], schemas: &Value) {
    for status in implied {
        responses.entry(status.to_string()).or_insert(json!({}));
    }
    for (status, response) in responses.iter_mut() {
        let mistake = MISTAKES
            .iter()
            .find(|(code, _)| code.to_string() == *status);
        match mistake {
            Some((code, what)) => *response = self::mistake(*code, what),
            None if status == "101" => {}
            None => response["description"] = describe(response, schemas).into(),
        }
    }
}

/// Comments name items of the code in brackets, which lead nowhere from here.
fn plain(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("[`") => {
            *text = text.replace("[`", "`").replace("`]", "`");
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(members) => members.values_mut().for_each(plain),
        _ => {}
    }
}

/// A body that may be left out; `null` is none.
fn may_be_empty(body: &mut Value) {
    let Some(schema) = body.pointer_mut("/content/application~1json/schema") else {
        return;
    };
    let mut given = schema["oneOf"].as_array().into_iter().flatten();
    let given = given.find(|choice| choice["type"] != "null");
    if let Some(given) = given.cloned() {
        *schema = given;
        body["required"] = false.into();
    }
}

/// Statuses that follow from what an operation takes.
fn implied(operation: &Value) -> Vec<u16> {
    let body = operation["requestBody"].is_object();
    let read = body || operation["parameters"].is_array();
    let mut statuses = vec![401, 500, 503];
    statuses.extend(read.then_some(400));
    statuses.extend(body.then_some([408, 413]).into_iter().flatten());
    statuses
}

fn mistake(code: u16, what: &str) -> Value {
    let error = json!({"schema": {"$ref": "#/components/schemas/ApiError"}});
    let mut response = json!({"description": what, "content": {"application/json": error}});
    if code == 503 {
        let after = json!({"description": "Seconds until another try makes sense.", "schema": {"type": "string", "pattern": "^[0-9]+$"}});
        response["headers"] = json!({"Retry-After": after});
    }
    response
}

/// The words of the type that is answered.
fn describe(response: &Value, schemas: &Value) -> String {
    let content = response["content"].as_object().into_iter().flatten();
    let schema = content.map(|(_, media)| &media["schema"]).next();
    let schema = schema.unwrap_or(&Value::Null);
    match schema["items"]["$ref"].as_str() {
        Some(item) => format!("A list. {}", words(item, schemas)),
        None => words(schema["$ref"].as_str().unwrap_or_default(), schemas),
    }
}

fn words(reference: &str, schemas: &Value) -> String {
    let name = reference.rsplit('/').next().unwrap_or_default();
    let words = schemas[name]["description"].as_str();
    words.unwrap_or_default().to_owned()
}
