//! `hancock node`: machines, what they have and what is used.

mod local;
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
use super::confirm::Yes;
use super::out::{Out, Tone};
use super::table::{Cell, Table};
use local::Here;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List nodes
    List,
    /// Show everything known of a node
    Show {
        /// Name of the node
        node: NodeId,
    },
    /// List what runs or is left on nodes and no assignment knows; with --local everything of Hancock's on this machine
    Orphans {
        /// Name of the node; all that are alive otherwise
        #[arg(conflicts_with = "local")]
        node: Option<NodeId>,
        #[command(flatten)]
        here: Here,
    },
    /// End and remove what a cluster that is gone left on a node, or with --local on this machine
    Purge {
        /// Name of the node
        #[arg(required_unless_present = "local", conflicts_with = "local")]
        node: Option<NodeId>,
        /// That cluster, as `node orphans` shows it
        #[arg(long, value_name = "ID")]
        cluster: ClusterId,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        here: Here,
    },
}

impl Command {
    /// Whether it is about this machine, without a master.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Orphans { here, .. } | Self::Purge { here, .. } => here.is_local(),
            Self::List | Self::Show { .. } => false,
        }
    }
}

/// Runs one that is about this machine.
pub async fn here(command: Command, out: &Out) -> anyhow::Result<ExitCode> {
    match command {
        Command::Orphans { here, .. } => local::list(&here, out).await?,
        Command::Purge {
            cluster, yes, here, ..
        } => return local::purge(&here, &cluster, yes, out).await,
        Command::List | Command::Show { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
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
        Command::Orphans { node, .. } => orphans::list(context, node.as_ref()).await?,
        Command::Purge {
            node, cluster, yes, ..
        } => {
            let Some(node) = node else {
                bail!("no node is named");
            };
            orphans::purge(context, node, cluster, *yes).await?;
        }
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
