//! What a spec says of files beside it: `env_file`, and `from` of `files`. They are read here, as only this machine has them, and what is sent
//! holds their content.

use std::collections::BTreeMap;
use std::path::Path;

use hancock_proto::app::{Problem, path};
use serde_json::{Map, Value};

/// Longest file read; a spec takes less.
const LONGEST: u64 = 256 << 10;

/// Puts what they hold into the document. Names are relative to `folder`.
pub fn fill(document: &mut Value, folder: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Value::Object(top) = document {
        environment(top, folder, &mut problems);
        contents(top, folder, &mut problems);
    }
    problems
}

/// Of several files the later one counts, and before all of them what `environment` says.
fn environment(top: &mut Map<String, Value>, folder: &Path, problems: &mut Vec<Problem>) {
    let Some(given) = top.remove("env_file") else {
        return;
    };
    let mut all = BTreeMap::new();
    for (at, name) in names(&given, problems) {
        match read(&folder.join(name)).and_then(|text| variables(name, &text)) {
            Ok(read) => all.extend(read),
            Err(message) => problems.push(problem(at, message)),
        }
    }
    let own = top.entry("environment");
    if let Value::Object(own) = own.or_insert_with(|| Map::new().into()) {
        for (name, value) in all {
            own.entry(name).or_insert(Value::String(value));
        }
    }
}

/// One name, or a list of them.
fn names<'a>(given: &'a Value, problems: &mut Vec<Problem>) -> Vec<(String, &'a str)> {
    let field = "env_file".to_owned();
    let each: Vec<(String, &Value)> = match given {
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(n, v)| (path::item("env_file", n), v)).collect()
        }
        one => vec![(field, one)],
    };
    let mut names = Vec::new();
    for (at, value) in each {
        match value.as_str() {
            Some(name) => names.push((at, name)),
            None => problems.push(problem(at, "expected a file's name, write it like web.env")),
        }
    }
    names
}

/// `NAME=value` by line, as Compose reads them: `#` begins a comment, quotes around a value are not part of it, nothing is filled in.
fn variables(file: &str, text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| format!("{file}:{}: {line:?} is not NAME=value", n + 1))?;
        all.insert(
            name.trim_end().to_owned(),
            unquoted(value.trim()).to_owned(),
        );
    }
    Ok(all)
}

fn unquoted(value: &str) -> &str {
    let within = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

/// `files: [{target, from}]`: the file's text becomes `content`.
fn contents(top: &mut Map<String, Value>, folder: &Path, problems: &mut Vec<Problem>) {
    let files = top.get_mut("files").and_then(Value::as_array_mut);
    for (n, file) in files.into_iter().flatten().enumerate() {
        let Some(file) = file.as_object_mut() else {
            continue;
        };
        let Some(Value::String(from)) = file.get("from") else {
            continue;
        };
        let at = path::field(&path::item("files", n), "from");
        if file.contains_key("content") {
            problems.push(problem(at, "and `content` are both given; keep one"));
        } else {
            match read(&folder.join(from)) {
                Ok(text) => drop(file.insert("content".to_owned(), text.into())),
                Err(message) => problems.push(problem(at, message)),
            }
        }
        file.remove("from");
    }
}

fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    if size.len() > LONGEST {
        return Err(format!(
            "{shown} has {} bytes, more than the {} KiB a spec takes",
            size.len(),
            LONGEST >> 10
        ));
    }
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {shown}: {e}"))
}

fn problem(path: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem {
        path: path.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "a.env",
            "# first\nA=1\nexport B = \"two words\"\nC='x=y'\n\nD=\n",
        );
        write("b.env", "A=2\n");
        write("bad.env", "A=1\nB\n");
        write("web.conf", "port {{ port.http }}\n");
        folder
    }

    #[test]
    fn files_beside_a_spec_become_part_of_it() {
        let folder = folder();
        let mut spec = json!({
            "env_file": ["a.env", "b.env"], "environment": {"C": "own"},
            "files": [{"target": "/etc/web.conf", "from": "web.conf"}],
        });
        assert_eq!(fill(&mut spec, folder.path()), []);
        assert_eq!(
            spec,
            json!({
                "environment": {"A": "2", "B": "two words", "C": "own", "D": ""},
                "files": [{"target": "/etc/web.conf", "content": "port {{ port.http }}\n"}],
            })
        );
        let mut one = json!({"env_file": "b.env"});
        assert_eq!(fill(&mut one, folder.path()), []);
        assert_eq!(one, json!({"environment": {"A": "2"}}));
    }

    #[test]
    fn what_cannot_be_read_is_told_in_its_place() {
        let folder = folder();
        let mut spec = json!({
            "env_file": ["none.env", 5, "bad.env"],
            "files": [{"from": "none.conf"}, {"from": "web.conf", "content": ""}],
        });
        let told = fill(&mut spec, folder.path());
        let told: Vec<_> = told
            .iter()
            .map(|p| format!("{}: {}", p.path, p.message))
            .collect();
        let wanted = [
            ("env_file[1]: ", "expected a file's name"),
            ("env_file[0]: ", "none.env"),
            ("env_file[2]: ", "bad.env:2: \"B\" is not NAME=value"),
            ("files[0].from: ", "none.conf"),
            ("files[1].from: ", "both given"),
        ];
        assert_eq!(told.len(), wanted.len(), "{told:#?}");
        for (told, (path, message)) in told.iter().zip(wanted) {
            assert!(told.starts_with(path) && told.contains(message), "{told}");
        }
    }
}
