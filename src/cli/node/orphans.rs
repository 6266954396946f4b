//! What is on nodes and nobody's: looked at, and removed where its cluster is gone.

use anyhow::bail;
use hancock_proto::ask::Orphan;
use hancock_proto::ids::{ClusterId, NodeId};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::client::Part;
use crate::cli::confirm::{Yes, agreed};
use crate::cli::out::Out;
use crate::cli::table::{Cell, Table};

/// An orphan with its place.
#[derive(Serialize)]
struct Found {
    node: NodeId,
    #[serde(flatten)]
    orphan: Orphan,
    /// So many more are there than the node told: at the last one it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<usize>,
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
    yes: Yes,
) -> anyhow::Result<()> {
    if yes.asks(&context.out) {
        let there = context.client.orphans(node).await?.entries;
        let theirs: Vec<_> = there.iter().filter(|o| o.cluster == *cluster).collect();
        let running = theirs.iter().filter(|o| o.running).count();
        let question = question((theirs.len(), running), cluster, &format!("node {node}"));
        if !theirs.is_empty() && !agreed(&context.out, &question)? {
            bail!("nothing was removed");
        }
    }
    let removed = context.client.purge(node, cluster).await?;
    let removed = at(node, removed);
    let none = format!("nothing of cluster {cluster} is on node {node}");
    let out = &context.out;
    Ok(out.print(&removed, |removed| match removed.is_empty() {
        true => format!("{none}\n"),
        false => format!("removed:\n{}", text(removed, "", out)),
    })?)
}

/// What is asked before so many, of which so many run, are removed.
pub(super) fn question((all, running): (usize, usize), cluster: &ClusterId, place: &str) -> String {
    let instances = if all == 1 { "instance" } else { "instances" };
    format!(
        "end and remove {all} {instances} of cluster {cluster} on {place}, of which {running} run?"
    )
}

fn at(node: &NodeId, orphans: Part<Orphan>) -> Vec<Found> {
    let with = |orphan| Found {
        node: node.clone(),
        orphan,
        more: None,
    };
    let mut all: Vec<_> = orphans.entries.into_iter().map(with).collect();
    if let Some(last) = all.last_mut() {
        last.more = Some(orphans.more).filter(|more| *more > 0);
    }
    all
}

fn text(found: &[Found], none: &str, out: &Out) -> String {
    if found.is_empty() {
        return format!("{none}\n");
    }
    let cut = found.iter().filter_map(|f| Some((&f.node, f.more?)));
    let cut = cut.map(|(node, more)| format!("and {more} more on node {node}\n"));
    table(found, out) + &cut.collect::<String>()
}

fn table(found: &[Found], out: &Out) -> String {
    let mut table = Table::new(&[
        "NODE",
        "CLUSTER",
        "INSTANCE",
        "APP",
        "VERSION",
        "STATE",
        "REMOVED BY",
    ]);
    for Found { node, orphan, .. } in found {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hancock_proto::ids::Version;

    use super::*;

    #[test]
    fn what_a_node_did_not_tell_is_counted() {
        let orphan = |instance: &str| Orphan {
            cluster: "gone".parse().unwrap(),
            instance: instance.parse().unwrap(),
            app: "web".parse().unwrap(),
            version: Version(1),
            running: true,
            own: false,
        };
        let part = |more| Part {
            entries: vec![orphan("web-1"), orphan("web-2")],
            more,
        };
        let (n1, n2) = ("n1".parse().unwrap(), "n2".parse().unwrap());
        let mut found = at(&n1, part(0));
        found.extend(at(&n2, part(7)));
        let text = text(&found, "", &Out::narrow(200));
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.ends_with("\nand 7 more on node n2\n"), "{text}");
        let json = serde_json::json!(found);
        assert_eq!((&json[3]["more"], json[2].get("more")), (&7.into(), None));
        assert_eq!(json[3]["instance"], "web-2");
    }
}
