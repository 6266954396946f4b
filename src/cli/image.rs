//! `hancock image`: images on nodes, and fetching them before they are needed.

mod list;
mod pull;

use std::process::ExitCode;

use anyhow::bail;
use hancock_proto::api::NodeView;
use hancock_proto::app::image::is_name;
use hancock_proto::ids::NodeId;

use super::Context;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List images on nodes, and which versions of apps are made of them
    List {
        /// Name of the node; all that are alive and run containers otherwise
        node: Option<NodeId>,
    },
    /// Fetch an image on nodes, so that an update need not wait for it; fails when one of them fails
    Pull {
        /// The image, like registry.example/web:3
        #[arg(value_parser = image)]
        image: String,
        /// Only on this node; may be given several times. On all that run containers otherwise
        #[arg(long = "node", value_name = "NODE")]
        nodes: Vec<NodeId>,
    },
}

/// Runs one of them.
pub async fn run(context: &Context, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { node } => list::run(context, node.as_ref()).await,
        Command::Pull { image, nodes } => pull::run(context, image, nodes).await,
    }
}

fn image(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no image; one is like registry.example/web:3"
        )),
    }
}

/// Nodes that have images.
async fn nodes(context: &Context) -> anyhow::Result<Vec<NodeView>> {
    let mut all = context.client.nodes().await?;
    all.retain(|node| !node.info.runtime.starts_with("process"));
    match all.is_empty() {
        true => bail!("no node runs containers, so there are no images"),
        false => Ok(all),
    }
}
