//! `hancock image pull`: every node fetches an image by itself; here it is waited for.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::StreamExt;
use hancock_proto::ask::Pull;
use hancock_proto::ids::NodeId;
use indicatif::{MultiProgress, ProgressBar};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::client::{Client, ClientError};
use crate::cli::out::{Out, Tone};
use crate::cli::spinner::spinner;
use crate::cli::table::{first_line, harmless};

/// Nodes that fetch at the same time: a registry has to send it to each of them.
const AT_ONCE: usize = 16;

/// Time between two looks at a node.
const LOOK: Duration = Duration::from_millis(500);

/// Time a node that is away while it fetches has to come back: the leader it was with may have changed.
const AWAY: Duration = Duration::from_secs(30);

/// How it went on one node.
#[derive(Debug, Serialize)]
struct Went {
    node: NodeId,
    #[serde(flatten)]
    how: Pull,
}

pub(super) async fn run(
    context: &Context,
    image: &str,
    only: &[NodeId],
) -> anyhow::Result<ExitCode> {
    let nodes: BTreeSet<NodeId> = match only {
        [] => {
            let all = super::nodes(context).await?.into_iter();
            all.map(|node| node.info.node).collect()
        }
        only => only.iter().cloned().collect(),
    };
    let bars = context.out.is_live().then(MultiProgress::new);
    let pulls = nodes
        .into_iter()
        .map(|node| one(&context.client, node, image, bars.as_ref()));
    let mut pulls = futures::stream::iter(pulls).buffer_unordered(AT_ONCE);
    let mut all = Vec::new();
    while let Some(went) = pulls.next().await {
        if !context.out.is_json() {
            let line = line(&went, image, &context.out);
            let print = || context.out.text(&line);
            bars.as_ref()
                .map_or_else(print, |bars| bars.suspend(print))?;
        }
        all.push(went);
    }
    all.sort_by(|a, b| a.node.cmp(&b.node));
    if context.out.is_json() {
        context.out.json(&all)?;
    }
    let good = all.iter().all(|went| matches!(went.how, Pull::Done { .. }));
    Ok(match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn one(client: &Client, node: NodeId, image: &str, bars: Option<&MultiProgress>) -> Went {
    let bar = bars.map(|bars| bars.add(spinner(node.to_string())));
    let how = wait(client, &node, image, bar.as_ref()).await;
    let how = how.unwrap_or_else(|error| Pull::Failed {
        reason: error.to_string(),
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Went { node, how }
}

/// Until it is over. The node goes on by itself when nobody looks any more.
async fn wait(
    client: &Client,
    node: &NodeId,
    image: &str,
    bar: Option<&ProgressBar>,
) -> Result<Pull, ClientError> {
    let mut how = client.pull(node, image).await?;
    let mut heard = Instant::now();
    while let Pull::Pulling { told } = &how {
        if let Some(bar) = bar {
            bar.set_message(harmless(&first_line(told)));
        }
        tokio::time::sleep(LOOK).await;
        match client.pulled(node, image).await {
            Ok(now) => (how, heard) = (now, Instant::now()),
            Err(error) if is_away(&error) && heard.elapsed() < AWAY => {}
            Err(error) => return Err(error),
        }
    }
    Ok(how)
}

fn is_away(error: &ClientError) -> bool {
    let away = matches!(error, ClientError::Refused(refused) if refused.code == "node_away");
    away || error.is_passing()
}

fn line(went: &Went, image: &str, out: &Out) -> String {
    let node = &went.node;
    match &went.how {
        Pull::Done { digest } => {
            let digest = digest.as_deref().unwrap_or("no digest");
            format!(
                "{node}   {}   {image}   {digest}",
                out.tint("done", Tone::Good)
            )
        }
        Pull::Failed { reason } => {
            let reason = harmless(reason);
            format!("{node}   {}   {reason}", out.tint("failed", Tone::Bad))
        }
        Pull::Pulling { told } => format!("{node}   {}", harmless(told)),
    }
}
