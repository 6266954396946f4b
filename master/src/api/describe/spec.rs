//! App specs as they may be sent: answers show every default, requests may leave them out.

use serde_json::{Value, json};

/// What must be given, by section of a spec. Everything else has a default.
const MUST: [(&str, &[&str]); 18] = [
    ("AppSpec", &["app"]),
    ("Resources", &[]),
    ("Port", &["name"]),
    ("Service", &[]),
    ("HealthCheck", &["type"]),
    ("Update", &[]),
    ("Stop", &[]),
    ("Placement", &[]),
    ("Restart", &[]),
    ("Volume", &["target"]),
    ("File", &["target", "content"]),
    ("Limits", &[]),
    ("Container", &[]),
    ("Ulimit", &["soft", "hard"]),
    ("Log", &["driver"]),
    ("ServiceProxy", &[]),
    ("StickyCookie", &["cookie"]),
    ("NoPeer", &[]),
];
/// What the schema cannot say.
const MORE: &str = "\n\nA request needs `app`, and `image` or `command`; an answer has every default filled in. Of names that begin with \
    `x-` nothing is read.";

/// Makes the sections of a spec take what is taken.
pub(super) fn loosen(schemas: &mut Value) {
    for (name, must) in MUST {
        let Some(schema) = schemas.get_mut(name).and_then(Value::as_object_mut) else {
            continue;
        };
        match must {
            [] => drop(schema.remove("required")),
            _ => drop(schema.insert("required".to_owned(), json!(must))),
        }
        if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
            schema.insert("patternProperties".to_owned(), json!({"^x-": true}));
        }
        let properties = schema.get_mut("properties");
        let properties = properties.and_then(Value::as_object_mut);
        for (_, property) in properties.into_iter().flatten() {
            without_null(property);
        }
    }
    if let Some(Value::String(text)) = schemas.pointer_mut("/AppSpec/description") {
        text.push_str(MORE);
    }
}

/// What is not there is left out; `null` is a mistake.
fn without_null(property: &mut Value) {
    let Some(schema) = property.as_object_mut() else {
        return;
    };
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(mut choices)) = schema.remove("oneOf") {
        choices.retain(|choice| choice["type"] != "null");
        match choices.as_mut_slice() {
            [Value::Object(only)] => schema.append(only),
            _ => drop(schema.insert("oneOf".to_owned(), Value::Array(choices))),
        }
    }
}
