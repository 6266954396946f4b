//! Tests that cannot run here say so: into the file named by `HANCOCK_SKIPS`, from where `tests/run` tells it.

use std::io::Write as _;

/// Records that `test` did not run and why. Use it as `return skip(..)`.
///
/// # Panics
/// With `CI=true`, where nothing may be skipped.
pub fn skip(test: &str, reason: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{test} cannot run: {reason}; with CI=true nothing may be skipped"
    );
    let line = format!("SKIPPED: {test}: {reason}\n");
    eprint!("{line}");
    let Some(path) = std::env::var_os("HANCOCK_SKIPS") else {
        return;
    };
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path);
    // One write per line: tests run side by side.
    file.and_then(|mut f| f.write_all(line.as_bytes())).unwrap();
}

/// Whether the long tier runs (`tests/run --long`).
pub fn long() -> bool {
    std::env::var_os("HANCOCK_LONG").is_some()
}

/// How often something is repeated: `usual` times, or `long` times in the long tier.
pub fn rounds(usual: usize, long_tier: usize) -> usize {
    if long() { long_tier } else { usual }
}

/// The name of the running test, as `module::test`.
pub fn test_name() -> String {
    let current = std::thread::current();
    current.name().unwrap_or("a test").to_owned()
}
