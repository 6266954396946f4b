//! Files: what `GET /upstreams` shows, or a folder of documents.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::{Record, SIDES, Side};

pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    match path.is_dir() {
        true => folders(path),
        false => dump(path),
    }
}

fn dump(path: &Path) -> anyhow::Result<Vec<Record>> {
    let shown = path.display();
    let text = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let all: BTreeMap<String, Value> = serde_json::from_slice(&text).with_context(|| {
        format!("{shown} is not what GET /upstreams shows: names and documents")
    })?;
    let records = all.iter();
    Ok(records
        .map(|(name, value)| Record::new(Side::Http, name, value.to_string().as_bytes()))
        .collect())
}

/// Laid out as the store, or with documents of the HTTP side at once.
fn folders(path: &Path) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut laid_out = false;
    for side in SIDES {
        let folder = path.join(side.folder());
        if folder.is_dir() {
            laid_out = true;
            records.extend(documents(side, &folder)?);
        }
    }
    if !laid_out {
        records = documents(Side::Http, path)?;
    }
    Ok(records)
}

fn documents(side: Side, folder: &Path) -> anyhow::Result<Vec<Record>> {
    let failed = || format!("cannot read {}", folder.display());
    let mut records = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = file.strip_suffix(".json").unwrap_or(&file);
        // What editors and tools leave behind begins with a dot.
        if name.starts_with('.') || entry.path().is_dir() {
            continue;
        }
        records.push(match std::fs::read(entry.path()) {
            Ok(text) => Record::new(side, name, &text),
            Err(error) => Record::broken(side, name, &format!("cannot read {file}: {error}")),
        });
    }
    Ok(records)
}
