//! Every input worth keeping, fed to what the fuzzer feeds. Reads files, which the core itself never does.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;

#[path = "../../../tests/fuzz/src/lib.rs"]
mod entries;

/// Calls `entry` with each file of a corpus.
fn replay(corpus: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let files = std::fs::read_dir(folder.join(corpus)).unwrap();
    let mut count = 0;
    for file in files.map(|file| file.unwrap().path()) {
        let input = std::fs::read(&file).unwrap();
        if std::panic::catch_unwind(|| entry(&input)).is_err() {
            panic!("broken by {}", file.display());
        }
        count += 1;
    }
    assert!(count > 100, "only {count} inputs in {corpus}");
}

#[test]
fn answers() {
    replay("answers", entries::answers);
}

#[test]
fn documents() {
    replay("documents", entries::documents);
}

#[test]
fn framed() {
    replay("framed", entries::framed);
}

#[test]
fn heads() {
    replay("heads", entries::heads);
}
