//! Consul's key-value store: a list of keys with values in base64.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Deserialize;

use super::{Record, SIDES, Side, bare, base, get, odd};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    /// None: a folder, or nothing was put there.
    value: Option<String>,
}

pub(super) async fn read(place: &str, prefix: &str) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for side in SIDES {
        let folder = format!("{}/{}/", bare(prefix), side.folder());
        let url = format!(
            "{}/v1/kv/{}?recurse=true",
            base(place),
            folder.trim_start_matches('/')
        );
        let (status, body) = get(&url, token()?).await?;
        match status {
            StatusCode::OK => {
                records.extend(parse(side, &body).map_err(|_| odd(&url, status, &body))?)
            }
            // No key begins so.
            StatusCode::NOT_FOUND => {}
            _ => return Err(odd(&url, status, &body)),
        }
    }
    Ok(records)
}

/// Shown where Consul wants one; from where its own tools take it.
fn token() -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Ok(token) = std::env::var("CONSUL_HTTP_TOKEN") {
        let token = HeaderValue::try_from(token).context("CONSUL_HTTP_TOKEN is no token")?;
        headers.insert("X-Consul-Token", token);
    }
    Ok(headers)
}

fn parse(side: Side, body: &[u8]) -> Result<Vec<Record>, serde_json::Error> {
    let entries: Vec<Entry> = serde_json::from_slice(body)?;
    let records = entries.iter().filter(|entry| !entry.key.ends_with('/'));
    Ok(records.map(|entry| record(side, entry)).collect())
}

/// Only the last segment of a key is the name.
fn record(side: Side, entry: &Entry) -> Record {
    let name = entry.key.rsplit('/').next().unwrap_or_default();
    let Some(value) = &entry.value else {
        return Record::broken(side, name, "nothing is stored under the key");
    };
    match STANDARD.decode(value) {
        Ok(text) => Record::new(side, name, &text),
        Err(error) => Record::broken(side, name, &format!("not base64: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_list_is_read() {
        let list = br#"[
            {"LockIndex":0,"Key":"config/slardar/upstreams/","Flags":0,"Value":null,"CreateIndex":12,"ModifyIndex":12},
            {"LockIndex":0,"Key":"config/slardar/upstreams/a.example","Flags":0,"Value":"eyJzZXJ2ZXJzIjpbXX0=","CreateIndex":14,"ModifyIndex":14},
            {"LockIndex":0,"Key":"config/slardar/upstreams/b","Flags":0,"Value":null,"CreateIndex":15,"ModifyIndex":15},
            {"LockIndex":0,"Key":"config/slardar/upstreams/deep/c","Flags":0,"Value":"?","CreateIndex":16,"ModifyIndex":16}]"#;
        let records = parse(Side::Http, list).expect("a list");
        let names: Vec<&str> = records.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["a.example", "b", "c"]);
        let [first, second, third] = records.as_slice() else {
            unreachable!()
        };
        let wanted = r#"{"cluster":[{"servers":[]}]}"#;
        assert_eq!(first.document.as_deref(), Ok(wanted));
        let problem = |record: &Record| record.document.clone().expect_err("broken");
        assert!(problem(second).contains("nothing is stored"));
        assert!(problem(third).contains("not base64"));
    }
}
