//! Lines to try, as they work on this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::cli::client::DEFAULT_MASTER;

/// A longer command has its words on the next line.
const WIDEST: usize = 34;

/// Commands and what they do, in columns, below what a new terminal needs for them.
pub struct Guide {
    rows: Vec<(String, String)>,
}

impl Guide {
    /// Without commands.
    pub fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// One more command, without the program's name.
    pub fn row(mut self, command: impl AsRef<str>, words: impl Into<String>) -> Self {
        let command = format!("hancock {}", command.as_ref());
        self.rows.push((command, words.into()));
        self
    }

    /// The text; `api` is the master's address.
    pub fn text(&self, api: &str) -> String {
        let before = exports(api, std::env::current_exe().ok(), found());
        self.render(&before)
    }

    fn render(&self, before: &[String]) -> String {
        let short = self.rows.iter().map(|(c, _)| c.chars().count());
        let width = short.filter(|c| *c <= WIDEST).max().unwrap_or(0);
        let mut text: String = before.iter().map(|line| format!("  {line}\n")).collect();
        for (command, words) in &self.rows {
            text += &match command.chars().count() <= width {
                true => format!("  {command:<width$}   {words}\n"),
                false => format!("  {command}\n  {:<width$}   {words}\n", ""),
            };
        }
        text
    }
}

/// What a new terminal has to be told so that `hancock` is this program and finds this master.
fn exports(api: &str, program: Option<PathBuf>, found: Option<PathBuf>) -> Vec<String> {
    let mut lines = Vec::new();
    if api != DEFAULT_MASTER {
        lines.push(format!("export HANCOCK_MASTER={api}"));
    }
    if let Some(program) = program.filter(|p| found.as_ref() != Some(p)) {
        lines.push(match program.file_name().is_some_and(|n| n == "hancock") {
            true => {
                let folder = program.parent().unwrap_or(Path::new("."));
                format!("export PATH=\"{}:$PATH\"", folder.display())
            }
            false => format!("alias hancock=\"{}\"", program.display()),
        });
    }
    lines
}

/// What a shell takes for `hancock`.
fn found() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path).map(|folder| folder.join("hancock"));
    let first = program.into_iter().find(|file| file.is_file())?;
    first.canonicalize().ok()
}

/// A line that works as it is: by name where this machine's own resolver leads to the proxy, otherwise by address.
pub fn curl(host: &str, http: SocketAddr) -> String {
    let local = http.ip().is_unspecified() || http.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
    match local {
        true => format!("curl http://{host}:{}/", http.port()),
        false => format!("curl -H 'Host: {host}' http://{http}/"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn commands_stand_in_columns_and_long_ones_alone() {
        let guide = Guide::new()
            .row("ps", "its instances")
            .row("logs -f demo", "what they print")
            .row("app apply --wait /a/long/way/to/demo-v2.yaml", "version 2");
        assert_eq!(
            guide.render(&["export A=b".to_owned()]),
            "  export A=b\n  hancock ps             its instances\n  hancock logs -f demo   what they print\n  \
             hancock app apply --wait /a/long/way/to/demo-v2.yaml\n                         version 2\n"
        );
    }

    #[test]
    fn a_terminal_is_told_only_what_it_does_not_know() {
        let here = || Some(PathBuf::from("/opt/bin/hancock"));
        assert!(exports(DEFAULT_MASTER, here(), here()).is_empty());
        assert_eq!(
            exports("http://127.0.0.1:1", here(), None),
            [
                "export HANCOCK_MASTER=http://127.0.0.1:1",
                "export PATH=\"/opt/bin:$PATH\""
            ]
        );
        let other = Some(PathBuf::from("/opt/hancock-1.2"));
        assert_eq!(
            exports(DEFAULT_MASTER, other, here()),
            ["alias hancock=\"/opt/hancock-1.2\""]
        );
    }

    #[test]
    fn the_curl_line_works_from_here() {
        let line = |http: &str| curl("demo.localhost", http.parse().unwrap());
        assert_eq!(line("0.0.0.0:8080"), "curl http://demo.localhost:8080/");
        assert_eq!(
            line("10.0.0.1:80"),
            "curl -H 'Host: demo.localhost' http://10.0.0.1:80/"
        );
    }
}
