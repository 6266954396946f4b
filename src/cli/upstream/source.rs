//! Where documents come from: a store as a Slardar keeps it, or files. All of it is read before anything is imported.

mod consul;
mod etcd;
mod file;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

/// To open a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// For a whole answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Largest answer of a store.
const MOST: usize = 256 << 20;

/// Kinds of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// Consul's key-value store
    Consul,
    /// etcd, through its old API (etcd 3.4 needs --enable-v2 for it)
    EtcdV2,
    /// A file, or a folder of documents
    File,
}

/// Which port a document is served on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// By Host.
    Http,
    /// By listen port.
    Tcp,
}

impl Side {
    pub fn word(self) -> &'static str {
        match self {
            Side::Http => "http",
            Side::Tcp => "tcp",
        }
    }

    /// The folder of the store.
    fn folder(self) -> &'static str {
        match self {
            Side::Http => "upstreams",
            Side::Tcp => "upstreams_stream",
        }
    }
}

/// Both, in the order they are read.
const SIDES: [Side; 2] = [Side::Http, Side::Tcp];

/// What is stored under one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub side: Side,
    pub name: String,
    /// The document in its full form, or why it is none.
    pub document: Result<String, String>,
}

impl Record {
    /// Of the text that is stored.
    fn new(side: Side, name: &str, text: &[u8]) -> Self {
        Self {
            side,
            name: name.to_owned(),
            document: named(name).and_then(|()| whole(text)),
        }
    }

    /// Of a value that is no text.
    fn broken(side: Side, name: &str, problem: &str) -> Self {
        Self {
            side,
            name: name.to_owned(),
            document: Err(problem.to_owned()),
        }
    }
}

/// Everything in the store, by side and name; of two with one name the second is refused.
///
/// # Errors
/// It cannot be read, or is no store of that kind.
pub async fn read(from: From, place: Option<&str>, prefix: &str) -> anyhow::Result<Vec<Record>> {
    let mut records = match (from, place) {
        (From::File, None) => bail!("--from file needs the path of a file or a folder"),
        (From::File, Some(path)) => file::read(path.as_ref())?,
        (From::Consul, place) => consul::read(place.unwrap_or("127.0.0.1:8500"), prefix).await?,
        (From::EtcdV2, place) => etcd::read(place.unwrap_or("127.0.0.1:2379"), prefix).await?,
    };
    records.sort_by(|a, b| (a.side, &a.name).cmp(&(b.side, &b.name)));
    let mut seen = BTreeSet::new();
    for record in &mut records {
        if !seen.insert((record.side, record.name.clone())) {
            record.document = Err("the name is stored twice, the first one counts".to_owned());
        }
    }
    Ok(records)
}

fn named(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match !name.is_empty() && name.bytes().all(allowed) {
        true => Ok(()),
        false => Err("not a name: letters, digits, -, _ and . only".to_owned()),
    }
}

/// The full form. The short one keeps options of what was there before, which a stored document does not mean.
fn whole(text: &[u8]) -> Result<String, String> {
    let value = serde_json::from_slice(text).map_err(|e| format!("not JSON: {e}"))?;
    let Value::Object(mut document) = value else {
        return Err("not a document: no JSON object".to_owned());
    };
    let is_full = |document: &Map<String, Value>| {
        let cluster = document.get("cluster");
        cluster.is_some_and(|c| c.is_array() || c.is_object())
    };
    if is_full(&document) {
        // As it is stored: named clusters count in their order.
        return String::from_utf8(text.to_vec()).map_err(|e| e.to_string());
    }
    let Some(servers) = document.remove("servers") else {
        return Err("not a document: neither servers nor cluster".to_owned());
    };
    let level = serde_json::json!([{"servers": servers}]);
    document.insert("cluster".to_owned(), level);
    Ok(Value::Object(document).to_string())
}

/// A client of stores.
fn client() -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .no_proxy();
    client
        .timeout(ANSWER)
        .build()
        .context("cannot make an HTTP client")
}

/// The answer of a store: its status, and what it said.
async fn get(url: &str, headers: HeaderMap) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let failed = || format!("cannot read {url}; is it the store's address?");
    let request = client()?.get(url).headers(headers);
    let mut response = request.send().await.with_context(failed)?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.with_context(failed)? {
        body.extend_from_slice(&piece);
        if body.len() > MOST {
            bail!("{url} holds more than {MOST} bytes, which no set of upstreams is");
        }
    }
    Ok((response.status(), body))
}

/// An answer that is neither a list nor "nothing there".
fn odd(url: &str, status: StatusCode, body: &[u8]) -> anyhow::Error {
    let said: String = String::from_utf8_lossy(body).chars().take(200).collect();
    anyhow::anyhow!("{url} answered {status}: {:?}", said.trim())
}

/// `http://` before an address that does not say.
fn base(place: &str) -> String {
    let place = place.trim_end_matches('/');
    match place.contains("://") {
        true => place.to_owned(),
        false => format!("http://{place}"),
    }
}

/// A prefix without slashes around it.
fn bare(prefix: &str) -> &str {
    prefix.trim_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_becomes_one_level() {
        let text = br#"{"enable":false,"servers":[{"host":"a","port":1}]}"#;
        let wanted = r#"{"cluster":[{"servers":[{"host":"a","port":1}]}],"enable":false}"#;
        assert_eq!(whole(text).as_deref(), Ok(wanted));
        let full = r#"{"cluster":{"z":{"servers":[]},"a":{"servers":[]}},"servers":1}"#;
        assert_eq!(whole(full.as_bytes()).as_deref(), Ok(full));
    }

    #[test]
    fn what_is_no_document_is_told() {
        for (name, text, told) in [
            ("web", "{", "not JSON"),
            ("web", "", "not JSON"),
            ("web", "{}", "neither servers nor cluster"),
            ("web", "[]", "no JSON object"),
            ("web", r#"{"cluster":1}"#, "neither servers nor cluster"),
            ("a b", r#"{"servers":[]}"#, "not a name"),
            ("", r#"{"servers":[]}"#, "not a name"),
        ] {
            let record = Record::new(Side::Http, name, text.as_bytes());
            let problem = record.document.expect_err(text);
            assert!(problem.contains(told), "{name:?} {text}: {problem}");
        }
    }
}
