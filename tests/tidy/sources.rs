//! Rules on source files.

use crate::none;
use crate::tree::{Source, sources};

/// A vendor's crate and the only places that may name it. Everything else uses our own trait in front of it.
const VENDORS: [(&str, &[&str]); 6] = [
    (
        "pingora",
        &[
            "balancer/src/http",
            "balancer/src/listen",
            "balancer/src/tls",
        ],
    ),
    ("bollard", &["agent/src/runtime/docker"]),
    ("openraft", &["master/src/raft"]),
    (
        "etcd_client",
        &[
            "balancer/registry/src/etcd",
            "tests/testkit/src/bin/commits",
        ],
    ),
    ("mlua", &["balancer/src/lua"]),
    ("rcgen", &["proto/tls/src", "tests/testkit/src/certs"]),
];

/// Modules that may use unsafe code, each with a safety comment per use.
const UNSAFE: [&str; 0] = [];

/// Where tests wait; the second one on a clock that is not the machine's.
const WAITS: [&str; 2] = [
    "tests/testkit/src/wait.rs",
    "master/src/raft/tests/seeds/time.rs",
];

/// What a seed simulates, and what of it is never part of a simulation.
const SIMULATED: &str = "master/src/raft";
const REAL: [&str; 3] = [
    "master/src/raft/runtime",
    "master/src/raft/log/tests",
    "master/src/raft/tests",
];
const SEEDS: &str = "master/src/raft/tests/seeds";

/// Longest a source file may be. Ask for a split long before.
const LONGEST: usize = 700;

/// Whether `path` is the module `place` (`place.rs`) or lies in it.
fn within(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| {
        rest == ".rs" || rest.starts_with('/') || rest.starts_with('_') || rest.is_empty()
    })
}

/// `word` as a whole word or as the beginning of a crate's name (`pingora_core`).
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-'))
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

/// Every line of code that `breaks` the rule, as `path:line: text`.
fn findings(sources: &[Source], breaks: impl Fn(&Source, usize, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, code) in source.code() {
            if breaks(source, number, code) {
                found.push(format!("{}:{number}: {}", source.path, code.trim()));
            }
        }
    }
    found
}

#[test]
fn vendors_are_named_only_in_their_adapters() {
    let found = findings(&sources(), |source, _, code| {
        source.path != "tests/tidy/sources.rs"
            && source.path != "tests/tidy/crates.rs"
            && VENDORS.iter().any(|(vendor, places)| {
                // Only paths and imports name a crate; a text may speak of it.
                let mentioned = names(code, &format!("{vendor}::"))
                    || names(code, &format!("{vendor}_")) && code.contains("::");
                mentioned && !places.iter().any(|place| within(&source.path, place))
            })
    });
    none(
        "a vendor's crate outside its adapter: use or extend the trait in front of it",
        found,
    );
}

#[test]
fn unsafe_code_is_only_where_it_is_listed() {
    let found = findings(&sources(), |source, _, code| {
        let used = has_word(code, "unsafe_code") || has_word(code, "unsafe") && !code.contains('"');
        used && source.path != "tests/tidy/sources.rs"
            && !UNSAFE.iter().any(|place| within(&source.path, place))
    });
    none(
        "unsafe code outside the listed modules: find a safe wrapper, or list a small module of its own",
        found,
    );
}

#[test]
fn tests_wait_for_conditions() {
    let found = findings(&sources(), |source, number, code| {
        let sleeps = ["sleep(", "sleep_until("]
            .iter()
            .any(|call| has_call(code, call));
        sleeps
            && source.is_test(number)
            && !WAITS.contains(&source.path.as_str())
            && source.path != "tests/tidy/sources.rs"
    });
    none(
        "a bare sleep in a test: wait_for(what, deadline, condition) ends early and says what it saw",
        found,
    );
}

fn has_call(code: &str, call: &str) -> bool {
    code.match_indices(call)
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn what_is_simulated_takes_tasks_and_time_from_its_runtime() {
    let found = findings(&sources(), |source, _, code| {
        let real = REAL.iter().any(|place| within(&source.path, place));
        let simulated = within(&source.path, SIMULATED) && !real || within(&source.path, SEEDS);
        let around = ["tokio::spawn", "tokio::task", "tokio::time"];
        simulated && around.iter().any(|path| code.contains(path))
    });
    none(
        "tokio's own tasks or clock where a simulation runs: use raft::runtime's",
        found,
    );
}

#[test]
fn ignored_tests_say_why() {
    let found = findings(&sources(), |_, _, code| {
        code.trim() == concat!("#[", "ignore]")
    });
    none(
        "an ignored test without a reason: #[ignore = \"why\"]",
        found,
    );
}

#[test]
fn files_stay_short() {
    let sources = sources();
    let long = sources
        .iter()
        .filter(|source| source.text.lines().count() > LONGEST);
    none(
        "split it",
        long.map(|s| format!("{}: {} lines", s.path, s.text.lines().count()))
            .collect(),
    );
}

#[test]
fn crates_begin_with_their_promise() {
    let sources = sources();
    let roots = sources
        .iter()
        .filter(|s| s.path.ends_with("src/lib.rs") || s.path == "src/main.rs");
    let silent = roots.filter(|s| !s.text.starts_with("//! "));
    none(
        "begin with `//!`: role, data in, data out, invariants, never",
        silent.map(|s| s.path.clone()).collect(),
    );
}

#[test]
fn rules_see_what_they_should() {
    assert!(
        within("master/src/raft.rs", "master/src/raft")
            && within("master/src/raft/log.rs", "master/src/raft")
    );
    assert!(!within("master/src/rafting.rs", "master/src/raft"));
    assert!(names("use pingora_core::x;", "pingora_") && !names("my_pingora_thing", "pingora_"));
    assert!(has_call("tokio::time::sleep(d)", "sleep(") && !has_call("no_sleep(d)", "sleep("));
    assert!(has_word("unsafe { x }", "unsafe") && !has_word("unsafe_code", "unsafe"));
}
