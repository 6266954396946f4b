//! The description of the API: valid in itself, and seen in review when it changes.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use hancock_proto::app::AppSpec;
use serde_json::{Value, json};

/// The copy in the tree.
const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

fn document() -> Value {
    serde_json::from_str(hancock_master::openapi()).unwrap()
}

/// Calls `see` with every operation: what it is called here, its path, and what is said of it.
fn each_operation(document: &Value, mut see: impl FnMut(&str, &str, &Value)) {
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            see(&format!("{method} {path}"), path, operation);
        }
    }
}

/// Every value in the document with the pointer to it.
fn walk(at: &str, value: &Value, see: &mut impl FnMut(&str, &Value)) {
    see(at, value);
    let inner: Vec<(String, &Value)> = match value {
        Value::Array(items) => (0..).map(|n: u32| n.to_string()).zip(items).collect(),
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in inner {
        walk(&format!("{at}/{name}"), value, see);
    }
}

#[test]
fn the_copy_in_the_tree_is_current() {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(COPY, hancock_master::openapi()).unwrap();
    }
    let copy = std::fs::read_to_string(COPY).unwrap_or_default();
    let copy: Value = serde_json::from_str(&copy).unwrap_or_default();
    assert!(
        copy == document(),
        "master/openapi.json is not what the code says now; write it with \
         `UPDATE=1 cargo nextest run -p hancock-master the_copy_in_the_tree` and look at what changed"
    );
}

#[test]
fn it_is_openapi() {
    let document = document();
    // Schemas are JSON Schema and looked at as such; of those that allow everything this reader knows nothing.
    let mut frame = document.clone();
    frame["components"]["schemas"] = json!({});
    let read: utoipa::openapi::OpenApi = serde_json::from_value(frame).unwrap();
    assert_eq!(read.info.title, "Hancock");
    assert_eq!(document["openapi"], "3.1.0");
    let scheme = &document["components"]["securitySchemes"]["token"];
    assert_eq!(
        (&scheme["type"], &scheme["scheme"]),
        (&json!("http"), &json!("bearer"))
    );
    assert_eq!(document["security"], json!([{"token": []}]));
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document();
    let (mut lost, mut used) = (Vec::new(), BTreeSet::new());
    walk("", &document, &mut |at, value| {
        let Some(target) = value["$ref"].as_str() else {
            return;
        };
        let there = target.strip_prefix('#').and_then(|to| document.pointer(to));
        match there {
            Some(_) => drop(used.insert(target.rsplit('/').next().unwrap().to_owned())),
            None => lost.push(format!("{at}: {target}")),
        }
    });
    assert!(lost.is_empty(), "{lost:#?}");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let unused: Vec<_> = schemas.keys().filter(|k| !used.contains(*k)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn every_schema_is_one_and_says_what_it_is() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        jsonschema::meta::validate(schema).unwrap_or_else(|e| panic!("{name}: {e}"));
        let told = schema["description"].as_str().unwrap_or_default();
        assert!(!told.is_empty(), "{name} has no description");
        let members = schema["properties"].as_object();
        for required in schema["required"].as_array().into_iter().flatten() {
            let known = members.is_some_and(|m| m.contains_key(required.as_str().unwrap()));
            assert!(known, "{name} requires {required}, which it does not have");
        }
    }
}

#[test]
fn operations_are_named_once_and_described() {
    let mut names = BTreeMap::new();
    each_operation(&document(), |here, _, operation| {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        let before = names.insert(name, here.to_owned());
        assert_eq!(before, None, "{here} has the name of another operation");
        assert!(operation["summary"].is_string(), "{here} has no summary");
        // What becomes a WebSocket has no body, nor an answer after it.
        let upgrades = operation["responses"]["101"].is_object();
        for (status, response) in operation["responses"].as_object().unwrap() {
            let told = response["description"].as_str().unwrap_or_default();
            assert!(!told.is_empty(), "{here} {status} is not described");
            assert!(
                response["content"].is_object() || status == "101",
                "{here} {status} has no body"
            );
        }
        let good = if upgrades { "101" } else { "200" };
        for status in [good, "401", "503"] {
            assert!(
                operation["responses"][status].is_object(),
                "{here}: no {status}"
            );
        }
        let retry = &operation["responses"]["503"]["headers"]["Retry-After"];
        assert!(retry.is_object(), "{here}: 503 says when to try again");
    });
}

#[test]
fn parameters_of_paths_are_declared_exactly() {
    each_operation(&document(), |here, path, operation| {
        let parts = path.split('/').filter_map(|part| part.strip_prefix('{'));
        let wanted: BTreeSet<&str> = parts.map(|part| part.trim_end_matches('}')).collect();
        let list = operation["parameters"].as_array();
        let list: Vec<&Value> = list.into_iter().flatten().collect();
        let names = |place: &str| -> BTreeSet<&str> {
            let of_place = list.iter().filter(|p| p["in"] == place);
            of_place.map(|p| p["name"].as_str().unwrap()).collect()
        };
        assert_eq!(names("path"), wanted, "{here}");
        let required = |p: &&&Value| p["in"] == "path" && p["required"] != true;
        assert_eq!(list.iter().find(required), None, "{here}");
        assert!(list.iter().all(|p| p["schema"].is_object()), "{here}");
    });
}

/// A node answers or does these, not the state: there is nothing stale to read, and nothing is noted under a key.
const OF_NODES: [&str; 8] = [
    "exec",
    "node_images",
    "node_orphans",
    "node_pull",
    "node_pull_progress",
    "node_purge",
    "run_job",
    "signal_instance",
];

#[test]
fn reads_may_be_stale_and_writes_may_be_sent_again() {
    each_operation(&document(), |here, _, operation| {
        let list = operation["parameters"].as_array().into_iter().flatten();
        let names: Vec<&str> = list.map(|p| p["name"].as_str().unwrap()).collect();
        let id = operation["operationId"].as_str().unwrap();
        if OF_NODES.contains(&id) {
            return assert!(!names.contains(&"stale"), "{here}");
        }
        let read = here.starts_with("get ") || id == "plan";
        assert_eq!(names.contains(&"stale"), read && id != "openapi", "{here}");
        assert_eq!(names.contains(&"Idempotency-Key"), !read, "{here}");
    });
}

/// The least of every section.
fn least() -> Value {
    json!({
        "app": "web",
        "command": ["/bin/web"],
        "ports": [{"name": "http"}],
        "service": [{"hosts": ["web.test"], "proxy": {"sticky": {"cookie": "srv"}, "no_peer": {}}}],
        "healthcheck": {"type": "http"},
        "resources": {}, "update": {}, "stop": {}, "placement": {}, "restart": {},
        "limits": {},
        "volumes": [{"source": "/a", "target": "/b"}],
        "files": [{"target": "/c", "content": "d"}],
        "container": {"log": {"driver": "local"}, "ulimits": {"core": {"soft": 0, "hard": 0}}},
        "x-owner": 1,
    })
}

fn spec_schema() -> jsonschema::Validator {
    let mut schema = document();
    schema["$ref"] = json!("#/components/schemas/AppSpec");
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn a_spec_with_the_least_is_taken_by_schema_and_decoder() {
    let (schema, least) = (spec_schema(), least());
    let given = AppSpec::decode(&least).unwrap();
    schema.validate(&least).unwrap();
    // What is answered has every default, and is a spec that may be sent.
    schema
        .validate(&serde_json::to_value(given).unwrap())
        .unwrap();
}

#[test]
fn what_the_schema_of_a_spec_wants_the_decoder_wants() {
    let schema = spec_schema();
    for path in [
        "/app",
        "/ports/0/name",
        "/healthcheck/type",
        "/volumes/0/target",
        "/files/0/target",
        "/files/0/content",
        "/container/log/driver",
        "/container/ulimits/core/hard",
        "/service/0/proxy/sticky/cookie",
    ] {
        let (above, name) = path.rsplit_once('/').unwrap();
        let mut spec = least();
        let section = spec.pointer_mut(above).unwrap().as_object_mut().unwrap();
        section.remove(name).unwrap();
        assert!(!schema.is_valid(&spec), "{path} is required by the schema");
        assert!(AppSpec::decode(&spec).is_err(), "{path} is required");
    }
}

#[test]
fn what_the_schema_of_a_spec_refuses_the_decoder_refuses() {
    let schema = spec_schema();
    for (path, wrong) in [
        ("/image", json!(null)),
        ("/healthcheck", json!(null)),
        ("/service/0/proxy/sticky/secure", json!(null)),
        ("/service/0/proxy/no_peer/status", json!(null)),
        ("/resources/memory", json!("32 parsecs")),
        ("/resources/cpu", json!("0.5")),
        ("/update/ack_timeout", json!(10)),
        ("/service/0/balance", json!("best")),
        ("/ports/0/host", json!([1])),
        ("/ports/0/protocol", json!("sctp")),
        ("/volumes/0/type", json!("nfs")),
        ("/files/0/mode", json!("644")),
        ("/limits/pids", json!(-1)),
        ("/container/privileged", json!("yes")),
        ("/container/cap_add", json!("NET_ADMIN")),
        ("/colour", json!("red")),
    ] {
        let (above, name) = path.rsplit_once('/').unwrap();
        let mut spec = least();
        spec.pointer_mut(above).unwrap()[name] = wrong;
        assert!(!schema.is_valid(&spec), "{path} by the schema");
        assert!(AppSpec::decode(&spec).is_err(), "{path} by the decoder");
    }
}
