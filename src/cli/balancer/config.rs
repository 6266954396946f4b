//! The file given with --config: every key is an option's name, and means the same.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use clap::{ArgMatches, Args as _, Command, FromArgMatches};
use toml_edit::{DocumentMut, Item, Value};

use super::Args;

/// What the file says.
///
/// # Errors
/// It cannot be read, or says something no option understands.
pub(super) fn read(path: &Path) -> anyhow::Result<Args> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {shown}; give another file with --config"))?;
    let file: DocumentMut = text.parse().map_err(|e| anyhow!("{shown}: {e}"))?;
    let mut words = vec!["balancer".to_owned()];
    for (key, item) in file.iter() {
        let values = values(item);
        if key == "config" || values.is_empty() {
            bail!(
                "{shown}: {key} is no option, or has no value; options are those of hancock balancer --help"
            );
        }
        words.extend(values.into_iter().map(|value| format!("--{key}={value}")));
    }
    let matches = parse(words).map_err(|e| anyhow!("{shown}: {}", first_line(&e)))?;
    Args::from_arg_matches(&matches).map_err(|e| anyhow!("{shown}: {}", first_line(&e)))
}

fn parse(words: Vec<String>) -> Result<ArgMatches, clap::Error> {
    Args::augment_args(Command::new("balancer")).try_get_matches_from(words)
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// One value, or those of a list; empty: it is neither.
fn values(item: &Item) -> Vec<String> {
    match item.as_value() {
        Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
        Some(one) => text(one).into_iter().collect(),
        None => Vec::new(),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        _ => None,
    }
}
