//! What is on nodes and nobody's.

use std::time::Duration;

use hancock_proto::api::PurgeRequest;
use hancock_proto::ask::Orphan;
use hancock_proto::ids::{ClusterId, NodeId};
use reqwest::Method;
use serde::Serialize;

use super::{Client, ClientError};

/// Longest a node may take to end and remove what is not its own.
const PURGE: Duration = Duration::from_secs(120);

/// Header with the number of those that an answer has no room for.
const MORE: &str = "x-hancock-more";

/// As much of a list as an answer has room for.
#[derive(Debug)]
pub struct Part<T> {
    /// These.
    pub entries: Vec<T>,
    /// And so many more.
    pub more: usize,
}

impl Client {
    /// What is on a node that no assignment knows.
    pub async fn orphans(&self, node: &NodeId) -> Result<Part<Orphan>, ClientError> {
        let path = format!("/v1/nodes/{node}/orphans");
        self.part(Method::GET, &path, None::<&()>, Duration::ZERO)
            .await
    }

    /// Removes what another cluster left on a node, which may take a while; what was removed.
    pub async fn purge(
        &self,
        node: &NodeId,
        cluster: &ClusterId,
    ) -> Result<Part<Orphan>, ClientError> {
        let path = format!("/v1/nodes/{node}/purge");
        let cluster = cluster.clone();
        let body = PurgeRequest { cluster };
        self.part(Method::POST, &path, Some(&body), PURGE).await
    }

    async fn part(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        wait: Duration,
    ) -> Result<Part<Orphan>, ClientError> {
        let answer = self.answer(method, path, body, wait).await?;
        let more = answer.headers.get(MORE).and_then(|n| n.to_str().ok());
        Ok(Part {
            entries: self.parsed(path, &answer)?,
            more: more.and_then(|n| n.parse().ok()).unwrap_or(0),
        })
    }
}
