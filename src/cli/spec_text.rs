//! A spec as YAML that people read and `hancock app apply` takes: fields in their order, tables as blocks, short lists on one line.

mod node;

use serde::Serialize;
use serde_json::Value;

use node::Node;

/// Longest list shown on one line.
const ONE_LINE: usize = 60;

/// `value` as YAML.
///
/// # Errors
/// It has no JSON form.
pub fn yaml(value: &impl Serialize) -> serde_json::Result<String> {
    let ordered: Node = serde_json::from_str(&serde_json::to_string(value)?)?;
    let mut text = String::new();
    block(&ordered, 0, &mut text);
    Ok(text)
}

fn block(node: &Node, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match node {
        Node::Table(fields) => {
            for (name, value) in fields {
                *text += &format!("{indent}{}:", word(name));
                field(value, depth, text);
            }
        }
        Node::List(items) => {
            for item in items {
                let mut inner = String::new();
                block(item, depth + 1, &mut inner);
                // The dash stands where the item's indentation is.
                *text += &format!("{indent}- {}", inner.trim_start());
            }
        }
        Node::Leaf(leaf) => *text += &format!("{indent}{}\n", scalar(leaf)),
    }
}

fn field(node: &Node, depth: usize, text: &mut String) {
    match node {
        Node::Table(fields) if fields.is_empty() => *text += " {}\n",
        Node::Leaf(leaf) => *text += &format!(" {}\n", scalar(leaf)),
        Node::List(items) => match flow(items) {
            Some(line) => *text += &format!(" {line}\n"),
            None => nested(node, depth, text),
        },
        Node::Table(_) => nested(node, depth, text),
    }
}

fn nested(node: &Node, depth: usize, text: &mut String) {
    text.push('\n');
    block(node, depth + 1, text);
}

/// A short list without tables, on one line.
fn flow(items: &[Node]) -> Option<String> {
    let leaves = items.iter().map(|item| match item {
        Node::Leaf(leaf) => Some(scalar(leaf)),
        Node::List(_) | Node::Table(_) => None,
    });
    let line = leaves.collect::<Option<Vec<_>>>()?.join(", ");
    (line.len() <= ONE_LINE).then(|| format!("[{line}]"))
}

/// JSON's own notation is YAML, so only texts that cannot be mistaken for something else stand without quotes.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        other => other.to_string(),
    }
}

fn word(text: &str) -> String {
    const INNER: &str = "-_./";
    let amount =
        !text.is_empty() && text.starts_with(|c: char| c.is_ascii_digit()) && is_amount(text);
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let rest = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || INNER.contains(c));
    // Words that YAML of one age or another takes for something else.
    let taken = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    match amount || first && rest && !taken.contains(&text.to_lowercase().as_str()) {
        true => text.to_owned(),
        false => Value::from(text).to_string(),
    }
}

/// A number with a unit of its own, like 10s or 64MiB: no notation of numbers ends so.
fn is_amount(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    ["ms", "s", "m", "h", "d", "B", "KiB", "MiB", "GiB", "TiB"].contains(&unit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use serde_json::json;

    use super::*;
    use crate::cli::spec_file;

    #[test]
    fn what_is_shown_reads_back_as_the_same_spec() {
        let value = json!({
            "app": "web", "command": ["/bin/web", "{{ port.http }}", "", "no", "a: b", "- x", "#1", "\u{1b}\"ä"],
            "environment": {"N": "3", "T": "true", "MULTI": "a\nb", "EMPTY": ""}, "labels": {"team": "10s"},
            "ports": [{"name": "http"}, {"name": "admin", "container": 9}],
            "service": [{"port": "http", "hosts": ["web.localhost", "www.web.localhost"]}],
        });
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        let spec = hancock_proto::app::AppSpec::decode(&value).unwrap();
        let text = yaml(&spec).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let back = spec_file::read(file.path()).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(back, spec, "{text}");
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let value = json!({"app": "web", "x": {}, "ports": [{"host": 8080, "name": "http"}], "wait": "10s", "v": "1e3"});
        assert_eq!(
            yaml(&value).unwrap(),
            "app: web\nports:\n  - host: 8080\n    name: http\nv: \"1e3\"\nwait: 10s\nx: {}\n"
        );
    }
}
