//! What is on nodes and nobody's: looked at, and removed where its cluster is gone.

use hancock_proto::ask::Orphan;
use hancock_proto::ids::{ClusterId, NodeId};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::out::Out;
use crate::cli::table::{Cell, Table};

/// An orphan with its place.
#[derive(Serialize)]
struct Found {
    node: NodeId,
    #[serde(flatten)]
    orphan: Orphan,
}

pub(super) async fn list(context: &Context, node: Option<&NodeId>) -> anyhow::Result<()> {
    let nodes = match node {
        Some(node) => vec![node.clone()],
        None => {
            let all = context.client.nodes().await?.into_iter();
            let alive = all.filter(|node| node.state == "alive");
            alive.map(|node| node.info.node).collect()
        }
    };
    let mut found = Vec::new();
    for node in nodes {
        let orphans = context.client.orphans(&node).await?;
        found.extend(at(&node, orphans));
    }
    let out = &context.out;
    Ok(out.print(&found, |found| text(found, "no orphans", out))?)
}

pub(super) async fn purge(
    context: &Context,
    node: &NodeId,
    cluster: &ClusterId,
) -> anyhow::Result<()> {
    let removed = context.client.purge(node, cluster).await?;
    let removed: Vec<_> = at(node, removed).collect();
    let none = format!("nothing of cluster {cluster} is on node {node}");
    let out = &context.out;
    Ok(out.print(&removed, |removed| match removed.is_empty() {
        true => format!("{none}\n"),
        false => format!("removed:\n{}", text(removed, "", out)),
    })?)
}

fn at(node: &NodeId, orphans: Vec<Orphan>) -> impl Iterator<Item = Found> {
    let with = move |orphan| Found {
        node: node.clone(),
        orphan,
    };
    orphans.into_iter().map(with)
}

fn text(found: &[Found], none: &str, out: &Out) -> String {
    if found.is_empty() {
        return format!("{none}\n");
    }
    let mut table = Table::new(&[
        "NODE",
        "CLUSTER",
        "INSTANCE",
        "APP",
        "VERSION",
        "STATE",
        "REMOVED BY",
    ]);
    for Found { node, orphan } in found {
        let state = if orphan.running { "runs" } else { "has ended" };
        let by = match orphan.own {
            true => "the node itself, after a while".to_owned(),
            false => format!("hancock node purge {node} --cluster {}", orphan.cluster),
        };
        table.row([
            Cell::from(node),
            (&orphan.cluster).into(),
            (&orphan.instance).into(),
            (&orphan.app).into(),
            orphan.version.to_string().into(),
            state.into(),
            by.into(),
        ]);
    }
    table.render(out)
}
