//! The tree of files: what lies on the top level, which paths documents name, and the sources for other rules.

use std::fs;
use std::path::Path;

use crate::none;

/// Everything that may lie on the top level, and must.
const TOP: [&str; 15] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "agent",
    "balancer",
    "clippy.toml",
    "deny.toml",
    "master",
    "packaging",
    "proto",
    "rust-toolchain.toml",
    "src",
    "tests",
];

/// Folders with sources.
const ROOTS: [&str; 6] = ["agent", "balancer", "master", "proto", "src", "tests"];

/// First parts that make a text in backticks a path of this repository.
const PATHS: [&str; 9] = [
    "agent/",
    "balancer/",
    "master/",
    "packaging/",
    "proto/",
    "src/",
    "tests/",
    ".ci/",
    ".config/",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One Rust file.
pub struct Source {
    /// Path from the root, with slashes.
    pub path: String,
    /// Everything in it.
    pub text: String,
}

impl Source {
    /// Lines of code with their numbers from 1: comments are left out.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(i, line)| (i + 1, line));
        lines
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(n, line)| (n, line.split(" // ").next().unwrap_or(line)))
    }

    /// Whether line `number` belongs to a test. A test module closes its file, so everything below `#[cfg(test)]` does.
    pub fn is_test(&self, number: usize) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        let file = parts
            .iter()
            .any(|part| *part == "tests" || *part == "tests.rs");
        let module = self
            .text
            .lines()
            .position(|line| line.trim() == "#[cfg(test)]");
        file || module.is_some_and(|at| number > at + 1)
    }
}

/// All Rust files, in order.
pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for top in ROOTS {
        collect(&root().join(top), &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        found.len() > 50,
        "only {} sources found: is this the repository?",
        found.len()
    );
    found
}

fn collect(dir: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let relative = path
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .into_owned();
            found.push(Source {
                path: relative,
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

#[test]
fn the_top_level_is_as_agreed() {
    let there: Vec<String> = fs::read_dir(root())
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    let stray = there.iter().filter(|name| {
        !TOP.contains(&name.as_str()) && !name.starts_with('.') && *name != "target"
    });
    let mut findings: Vec<String> = stray
        .map(|name| format!("{name} does not belong here"))
        .collect();
    findings.extend(
        TOP.iter()
            .filter(|name| !there.iter().any(|t| t == *name))
            .map(|name| format!("{name} is missing")),
    );
    none("the top level", findings);
}

#[test]
fn paths_named_in_documents_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    let mut findings = missing("README.md", &readme);
    for source in sources() {
        let docs: Vec<&str> = source
            .text
            .lines()
            .filter(|line| line.trim_start().starts_with("//!"))
            .collect();
        findings.extend(missing(&source.path, &docs.join("\n")));
    }
    none(
        "paths that do not exist: follow the move, or drop the mention",
        findings,
    );
}

/// Paths in backticks within `text` that are not there.
fn missing(document: &str, text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let words = quoted
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches(['/', ',', ';', '.']));
    let paths = words.filter(|word| {
        PATHS.iter().any(|first| word.starts_with(first))
            && !word.contains(['*', '<', '{', '…', '$'])
    });
    let gone = paths.filter(|path| {
        !root()
            .join(path.split("::").next().unwrap_or(path))
            .exists()
    });
    gone.map(|path| format!("{document} names {path}"))
        .collect()
}

#[test]
fn a_missing_path_is_found() {
    assert_eq!(
        missing("d", "see `src/main.rs`, `tests/nowhere.rs` and `GET /v1/x`"),
        ["d names tests/nowhere.rs"]
    );
}

#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let scripts = [
        ".ci/run",
        "tests/run",
        "packaging/build-deps",
        "packaging/test-deps",
        "packaging/docker-engine",
    ];
    let cannot = scripts.iter().filter(|path| {
        fs::metadata(root().join(path)).map_or(0, |m| m.permissions().mode()) & 0o111 == 0
    });
    none("chmod +x", cannot.map(|s| (*s).to_owned()).collect());
}
