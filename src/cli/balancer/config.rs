//! The file given with --config: every key is an option's name, and means the same.

use std::path::Path;

use anyhow::{Context, anyhow};
use clap::{ArgMatches, Args, Command};
use toml_edit::{DocumentMut, Item, TomlError, Value};

/// What the file says of the options of `command`.
///
/// # Errors
/// It cannot be read, or says something no option understands. One line, with the file's name.
pub fn read<A: Args>(path: &Path, command: &'static str) -> anyhow::Result<A> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {shown}; give another file with --config"))?;
    parse(command, &text).map_err(|problem| anyhow!("{shown}: {problem}"))
}

fn parse<A: Args>(command: &'static str, text: &str) -> Result<A, String> {
    let file: DocumentMut = text.parse().map_err(|e| broken(text, &e))?;
    let mut words = vec![command.to_owned()];
    for (key, item) in file.iter() {
        known::<A>(command, key)?;
        let values = values(item).ok_or_else(|| {
            format!(
                "{key} must be a text, a number, true, false or a list of them, as after --{key}"
            )
        })?;
        words.extend(values.into_iter().map(|value| format!("--{key}={value}")));
    }
    let matches = matches::<A>(command, words).map_err(|e| first_line(&e))?;
    A::from_arg_matches(&matches).map_err(|e| first_line(&e))
}

/// What is wrong with the form, and where.
fn broken(text: &str, error: &TomlError) -> String {
    let problem: Vec<&str> = error.message().lines().collect();
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", problem.join(", "))
}

fn options<A: Args>(command: &'static str) -> Command {
    A::augment_args(Command::new(command))
}

/// Keys are the names of options; only the one that names the file is none.
fn known<A: Args>(command: &'static str, key: &str) -> Result<(), String> {
    let options = options::<A>(command);
    let mut names = options.get_arguments().filter_map(|a| a.get_long());
    match names.any(|name| name == key && key != "config") {
        true => Ok(()),
        false => Err(format!(
            "{key} is no option; they are those of hancock {command} --help, without the dashes"
        )),
    }
}

fn matches<A: Args>(command: &'static str, words: Vec<String>) -> Result<ArgMatches, clap::Error> {
    options::<A>(command).try_get_matches_from(words)
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// One value, or those of a list; None: it is neither.
fn values(item: &Item) -> Option<Vec<String>> {
    match item.as_value()? {
        Value::Array(list) => list.iter().map(text).collect(),
        one => Some(vec![text(one)?]),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(yes) => Some(yes.value().to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::FromArgMatches;

    use super::*;
    use crate::cli::balancer::Args as Options;

    /// Every option with a value that is not its default, as on the command line.
    const ALL: [(&str, &str); 18] = [
        ("http", "127.0.0.1:1"),
        ("admin", "127.0.0.1:2"),
        ("stream-admin", "127.0.0.1:3"),
        ("tcp-bind", "127.0.0.1"),
        ("tcp-listen", "4"),
        ("tcp-ports", "5-6"),
        ("threads", "7"),
        ("engine", "general"),
        ("check-interval", "8s"),
        ("access-log-to", "logs.example:9"),
        ("access-log", "/a/file"),
        ("data-dir", "/a/folder"),
        ("token-file", "/a/token"),
        ("registry", "etcd://a/edge"),
        ("registry-password-file", "/a/password"),
        ("registry-ca", "/a/ca"),
        ("registry-cert", "/a/cert"),
        ("registry-key", "/a/key"),
    ];

    #[test]
    fn every_option_means_the_same_in_the_file() {
        let none = format!("{:?}", Options::default());
        for (name, value) in ALL {
            let words = ["balancer".to_owned(), format!("--{name}={value}")];
            let given =
                Options::from_arg_matches(&matches::<Options>("balancer", words.into()).unwrap())
                    .unwrap();
            let given = format!("{given:?}");
            assert_ne!(given, none, "--{name}");
            let read = parse::<Options>("balancer", &format!("{name} = {value:?}\n")).unwrap();
            assert_eq!(format!("{read:?}"), given, "{name}");
            let over = Options::default().over(read);
            assert_eq!(
                format!("{over:?}"),
                given,
                "{name} of the file is passed over"
            );
        }
        let options = options::<Options>("balancer");
        let names = options.get_arguments().filter_map(|a| a.get_long());
        let untold = names.filter(|n| *n != "config" && !ALL.iter().any(|(name, _)| name == n));
        assert_eq!(untold.collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn mistakes_are_told_in_one_line_each() {
        for (text, told) in [
            ("htpp = \":1\"", "htpp is no option"),
            ("config = \"x\"", "config is no option"),
            ("http = ", "line 1: "),
            ("threads = 1\nhttp = [", "line 2: "),
            ("http = 1979-05-27", "http must be a text"),
            ("threads = true", "'--threads <N>'"),
            ("tcp-listen = [1, [2]]", "tcp-listen must be a text"),
            ("[http]\nport = 1", "http must be a text"),
            ("http = \"localhost\"", "'--http <ADDR>'"),
            ("http = [\":1\", \":2\"]", "'--http <ADDR>'"),
            ("tcp-ports = \"9-1\"", "'--tcp-ports <RANGE>'"),
            ("check-interval = \"0s\"", "'--check-interval <TIME>'"),
        ] {
            let problem = parse::<Options>("balancer", text).expect_err(text);
            assert!(
                problem.contains(told) && !problem.contains('\n'),
                "{problem}"
            );
        }
    }
}
