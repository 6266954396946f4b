//! `hancock status`: how the cluster is, on one page.

use std::collections::BTreeMap;
use std::process::ExitCode;

use hancock_proto::api::StatusView;

use super::Context;
use super::out::{Out, Tone};

/// Shows it.
pub async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let status = context.client.status().await?;
    context
        .out
        .print(&status, |status| text(status, &context.out))?;
    Ok(ExitCode::SUCCESS)
}

fn text(status: &StatusView, out: &Out) -> String {
    let leader = match &status.leader {
        Some(leader) => out.tint(leader, Tone::Good),
        None => out.tint("none just now", Tone::Bad),
    };
    let rows = [
        ("cluster", status.cluster.to_string()),
        ("master", format!("version {}", status.version)),
        ("leader", format!("{leader}, term {}", status.term)),
        ("log", format!("applied {}", status.applied)),
        ("registry", format!("revision {}", status.registry)),
        ("nodes", counts(&status.nodes)),
        ("apps", status.apps.to_string()),
        ("instances", counts(&status.instances)),
        ("deployments", format!("{} under way", status.deployments)),
        (
            "trouble",
            status
                .trouble
                .as_deref()
                .map_or_else(String::new, |why| out.tint(why, Tone::Bad)),
        ),
        ("proxy", status.proxy.clone().unwrap_or_default()),
    ];
    let rows = rows.iter().filter(|(_, value)| !value.is_empty());
    rows.map(|(name, value)| format!("{name:<12} {value}\n"))
        .collect()
}

fn counts(by_state: &BTreeMap<String, u32>) -> String {
    let parts: Vec<_> = by_state
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(", "),
    }
}
