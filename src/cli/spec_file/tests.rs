#![allow(clippy::unwrap_used)]

use super::*;

/// What is wrong with `text`, a line per problem.
fn told(file: &str, text: &str) -> String {
    let encoding = Encoding::of(Path::new(file)).unwrap();
    match check(file, encoding, text) {
        Ok(spec) => format!("valid: {}", spec.canonical()),
        Err(error) => error.to_string(),
    }
}

const BROKEN_YAML: &str = "\
app: Web
replica: 3
image: web:2
environment:
  MODE: prod
  PORT: 8080
  MODE: test
ports:
  - name: http
    container: 80800
service:
  - port: htpp
    hosts: [Web.example, 'a:80']
update: {strategy: rolling}
x-note: [any, thing]
";

const BROKEN_TOML: &str = "\
app = \"Web\"
replica = 3
image = \"web:2\"
update = {strategy = \"rolling\"}
x-note = [\"any\", \"thing\"]

[environment]
MODE = \"prod\"
PORT = 8080

[[ports]]
name = \"http\"
container = 80800

[[service]]
port = \"htpp\"
hosts = [
  \"Web.example\",
  \"a:80\",
]
";

const BROKEN_JSON: &str = "\
{\"app\": \"Web\", \"replica\": 3,
 \"image\": \"web:2\",
 \"environment\": {
   \"MODE\": \"prod\", \"PORT\": 8080,
   \"MODE\": \"test\"
 },
 \"ports\": [{\"name\": \"http\",
            \"container\": 80800}],
 \"service\": [
   {\"port\": \"htpp\",
    \"hosts\": [\"Web.example\",
              \"a:80\"]}
 ],
 \"update\": {\"strategy\": \"rolling\"}, \"x-note\": [\"any\", {\"quoted \\\" brace }\": 1}]}
";

#[test]
fn every_mistake_of_a_yaml_file_has_its_line() {
    assert_eq!(
        told("web.yaml", BROKEN_YAML),
        r#"web.yaml:1: app: app name "Web" is not valid: 1 to 48 of a-z, 0-9 and "-", neither first nor last a "-"
web.yaml:2: replica: unknown field; did you mean "replicas"?
web.yaml:6: environment.PORT: expected text, found the number 8080; write it like "8080"
web.yaml:7: environment.MODE: written twice, first on line 5; keep one
web.yaml:10: ports[0].container: expected a whole number from 1 to 65535, found the number 80800; write it like 1
web.yaml:12: service[0].port: no port has the name "htpp"; did you mean "http"?
web.yaml:13: service[0].hosts[0]: "Web.example" must be lower case: web.example
web.yaml:13: service[0].hosts[1]: "a:80" must not name a port or scheme; write only the name, like web.example
web.yaml:14: update.strategy: not supported yet: "rolling"; for now there is blue_green or recreate"#
    );
}

#[test]
fn every_mistake_of_a_toml_file_has_its_line() {
    assert_eq!(
        told("web.toml", BROKEN_TOML),
        r#"web.toml:1: app: app name "Web" is not valid: 1 to 48 of a-z, 0-9 and "-", neither first nor last a "-"
web.toml:2: replica: unknown field; did you mean "replicas"?
web.toml:4: update.strategy: not supported yet: "rolling"; for now there is blue_green or recreate
web.toml:9: environment.PORT: expected text, found the number 8080; write it like "8080"
web.toml:13: ports[0].container: expected a whole number from 1 to 65535, found the number 80800; write it like 1
web.toml:16: service[0].port: no port has the name "htpp"; did you mean "http"?
web.toml:18: service[0].hosts[0]: "Web.example" must be lower case: web.example
web.toml:19: service[0].hosts[1]: "a:80" must not name a port or scheme; write only the name, like web.example"#
    );
}

#[test]
fn every_mistake_of_a_json_file_has_its_line() {
    assert_eq!(
        told("web.json", BROKEN_JSON),
        r#"web.json:1: app: app name "Web" is not valid: 1 to 48 of a-z, 0-9 and "-", neither first nor last a "-"
web.json:1: replica: unknown field; did you mean "replicas"?
web.json:4: environment.PORT: expected text, found the number 8080; write it like "8080"
web.json:5: environment.MODE: written twice, first on line 4; keep one
web.json:8: ports[0].container: expected a whole number from 1 to 65535, found the number 80800; write it like 1
web.json:10: service[0].port: no port has the name "htpp"; did you mean "http"?
web.json:11: service[0].hosts[0]: "Web.example" must be lower case: web.example
web.json:12: service[0].hosts[1]: "a:80" must not name a port or scheme; write only the name, like web.example
web.json:14: update.strategy: not supported yet: "rolling"; for now there is blue_green or recreate"#
    );
}

#[test]
fn all_encodings_say_the_same() {
    let yaml = "app: web\ncommand: [/bin/web, '{{ port.http }}']\nports: [{name: http}]\nresources: {cpu: 1.5, memory: 1GiB}\nenvironment: {A: \"\\u00e4\\t\"}\n";
    let toml = "app = \"web\"\ncommand = [\"/bin/web\", '{{ port.http }}']\nports = [{name = \"http\"}]\nresources = {cpu = 1.5, memory = \"1GiB\"}\nenvironment.A = \"ä\\t\"\n";
    let json = r#"{"app": "web", "command": ["/bin/web", "{{ port.http }}"], "ports": [{"name": "http"}],
        "resources": {"cpu": 1.5, "memory": "1GiB"}, "environment": {"A": "ä\t"}}"#;
    let yaml = told("a.yaml", yaml);
    assert!(yaml.starts_with("valid: "), "{yaml}");
    assert_eq!(told("a.toml", toml), yaml);
    assert_eq!(told("a.json", json), yaml);
}

#[test]
fn syntax_errors_have_their_line() {
    let cases = [
        (
            "a.yaml",
            "app: web\nports: [\n  {name: http}\nreplicas: }",
            ":",
        ),
        (
            "a.yaml",
            "app: web\n---\napp: other\n",
            ":2: a second document",
        ),
        (
            "a.yaml",
            "app: web\n? [a]\n: b\n",
            ":2: a key must be a plain word",
        ),
        ("a.yaml", "app: !secret web\n", ":1: tag "),
        ("a.toml", "app = \"web\"\nreplicas = \n", ":2: "),
        (
            "a.toml",
            "app = \"web\"\n\napp = \"other\"\n",
            ":3: duplicate key",
        ),
        (
            "a.json",
            "{\"app\": \"web\",\n \"replicas\": }",
            ":2: expected value",
        ),
        ("a.json", "{\"app\": \"web\"", ":1: EOF"),
    ];
    for (file, text, expected) in cases {
        let told = told(file, text);
        assert!(
            told.starts_with(&format!("{file}{expected}")),
            "{text:?}: {told}"
        );
    }
}

#[test]
fn what_is_missing_is_told_where_it_belongs() {
    let told = told(
        "a.yaml",
        "app: web\ncommand: [x]\n\nports:\n  - container: 1\n",
    );
    assert_eq!(
        told,
        "a.yaml:5: ports[0].name: is missing; write it like name: http"
    );
    let empty = self::told("a.yaml", "");
    assert_eq!(
        empty,
        "a.yaml:1: expected a table of fields, found nothing; write it like name: value"
    );
}

#[test]
fn anchors_work_within_bounds() {
    let shared = "app: web\ncommand: [x]\nx-common: &c {MODE: prod}\nenvironment: *c\n";
    assert!(told("a.yaml", shared).contains(r#""environment":{"MODE":"prod"}"#));
    let mut bomb = "x-0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
    for n in 1..9 {
        let items = vec![format!("*a{}", n - 1); 10].join(",");
        bomb += &format!("x-{n}: &a{n} [{items}]\n");
    }
    assert!(told("a.yaml", &bomb).contains("aliases add more than"));
    let deep = format!("a: {}", "[".repeat(80));
    assert!(
        told("a.yaml", &deep).contains("nested deeper"),
        "{}",
        told("a.yaml", &deep)
    );
}

#[test]
fn a_file_is_told_by_its_name() {
    let error = read(Path::new("web.conf")).unwrap_err();
    assert_eq!(error.exit_code(), exit::FAILED);
    assert!(
        error.to_string().contains(".yaml, .yml, .toml or .json"),
        "{error}"
    );
    let missing = read(Path::new("/nowhere/web.yaml"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("cannot read /nowhere/web.yaml: No such file"),
        "{missing}"
    );
}

#[test]
fn no_text_ends_the_program() {
    let mut text = String::new();
    // Every way to cut a file short, in every encoding.
    for (file, whole) in [
        ("a.yaml", BROKEN_YAML),
        ("a.toml", BROKEN_TOML),
        ("a.json", BROKEN_JSON),
    ] {
        for (end, _) in whole.char_indices() {
            text.clear();
            text.push_str(&whole[..end]);
            told(file, &text);
        }
    }
}
