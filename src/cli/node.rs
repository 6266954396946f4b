//! `hancock node`: machines, what they have and what is used.

mod orphans;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use hancock_proto::api::NodeView;
use hancock_proto::ids::{ClusterId, NodeId};
use hancock_proto::resources::NodeInfo;

use super::Context;
use super::args::{bytes, cores, length};
use super::out::{Out, Tone};
use super::table::{Cell, Table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List nodes
    List,
    /// Show everything known of a node
    Show {
        /// Name of the node
        node: NodeId,
    },
    /// List what runs or is left on nodes and no assignment knows
    Orphans {
        /// Name of the node; all that are alive otherwise
        node: Option<NodeId>,
    },
    /// End and remove what another cluster, which is gone, left on a node
    Purge {
        /// Name of the node
        node: NodeId,
        /// That cluster, as `node orphans` shows it
        #[arg(long, value_name = "ID")]
        cluster: ClusterId,
    },
}

/// Runs one of them.
pub async fn run(context: &Context, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => {
            let nodes = context.client.nodes().await?;
            context
                .out
                .print(&nodes, |nodes| text(nodes, &context.out))?;
        }
        Command::Orphans { node } => orphans::list(context, node.as_ref()).await?,
        Command::Purge { node, cluster } => orphans::purge(context, node, cluster).await?,
        Command::Show { node } => {
            let nodes = context.client.nodes().await?;
            let Some(found) = nodes.iter().find(|n| n.info.node == *node) else {
                bail!("there is no node {node}; `hancock node list` shows those there are");
            };
            let term = context.client.status().await?.term;
            let out = &context.out;
            out.print(found, |found| show::text(found, term, out))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(nodes: &[NodeView], out: &Out) -> String {
    let mut table = Table::new(&[
        "NODE",
        "STATE",
        "ADDRESS",
        "LABELS",
        "VERSION",
        "RUNTIME",
        "INSTANCES",
        "CPU",
        "MEMORY",
        "DISK",
        "LOAD",
        "HEARD",
    ]);
    for node in nodes {
        let (info, used) = (&node.info, &node.used);
        let tone = if node.state == "alive" {
            Tone::Good
        } else {
            Tone::Bad
        };
        table.row([
            Cell::from(&info.node),
            Cell::toned(&node.state, tone),
            Cell::from(&info.address),
            labels(info).into(),
            Cell::from(&info.version),
            Cell::from(&info.runtime),
            node.instances.into(),
            format!("{}/{}", cores(used.cpu), info.capacity.cpu).into(),
            format!(
                "{}/{}",
                bytes(used.memory),
                bytes(info.capacity.memory.as_bytes())
            )
            .into(),
            format!(
                "{}/{}",
                bytes(used.disk),
                bytes(info.capacity.disk.as_bytes())
            )
            .into(),
            node.offer
                .as_ref()
                .map(|o| format!("{:.2}", o.load))
                .unwrap_or_default()
                .into(),
            heard(node.heard_ms).into(),
        ]);
    }
    table.render(out)
}

fn labels(info: &NodeInfo) -> String {
    let pairs = info
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

fn heard(ms: Option<u64>) -> String {
    match ms {
        Some(ms) => format!("{} ago", length(Duration::from_millis(ms))),
        None => "not in this term".to_owned(),
    }
}
