//! etcd through its old API: a tree of nodes with values as they are.

use anyhow::bail;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::{Record, SIDES, Side, bare, base, get, odd};

/// What the API calls a key that is not there.
const NOT_FOUND: u32 = 100;

#[derive(Debug, Deserialize)]
struct Answer {
    node: Node,
}

#[derive(Debug, Deserialize)]
struct Node {
    /// None: the root of the store.
    #[serde(default)]
    key: String,
    #[serde(default)]
    dir: bool,
    #[serde(default)]
    value: String,
    #[serde(default)]
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    error_code: u32,
}

pub(super) async fn read(place: &str, prefix: &str) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for side in SIDES {
        let folder = format!("{}/{}", bare(prefix), side.folder());
        let url = format!(
            "{}/v2/keys/{}?recursive=true",
            base(place),
            folder.trim_start_matches('/')
        );
        let (status, body) = get(&url, HeaderMap::new()).await?;
        match status {
            StatusCode::OK => {
                let answer: Answer =
                    serde_json::from_slice(&body).map_err(|_| odd(&url, status, &body))?;
                records.extend(children(side, &answer.node));
            }
            StatusCode::NOT_FOUND if is_empty(&body) => {}
            StatusCode::NOT_FOUND => bail!(
                "{url} answered 404: this etcd does not serve the old API; start it with --enable-v2, or take a file"
            ),
            _ => return Err(odd(&url, status, &body)),
        }
    }
    Ok(records)
}

/// Whether the API itself says that nothing is there.
fn is_empty(body: &[u8]) -> bool {
    let problem = serde_json::from_slice::<Problem>(body);
    problem.is_ok_and(|p| p.error_code == NOT_FOUND)
}

/// Direct children are documents; a Slardar does not look deeper.
fn children(side: Side, folder: &Node) -> Vec<Record> {
    let records = folder.nodes.iter().map(|node| {
        let name = node.key.rsplit('/').next().unwrap_or_default();
        match node.dir {
            true => Record::broken(side, name, "a folder, where a document should be"),
            false => Record::new(side, name, node.value.as_bytes()),
        }
    });
    records.collect()
}
