//! `hancock registry`: where upstream documents live besides the masters, and the switch to another place.

use std::fmt::Write;
use std::process::ExitCode;

use hancock_proto::api::RegistryView;
use hancock_proto::registry::RegistryUrl;

use super::Context;
use super::args::age;
use super::out::{Out, Tone};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show which registry is in force, and how far a switch is
    Show,
    /// Switch to another one while everything runs
    Set {
        /// embedded, or `etcd://[USER:PASS@]HOST[:PORT][,HOST]/PREFIX`
        url: RegistryUrl,
    },
}

/// Runs one of them.
pub async fn run(context: &Context, command: &Command) -> anyhow::Result<ExitCode> {
    let view = match command {
        Command::Show => context.client.registry().await?,
        Command::Set { url } => context.client.choose_registry(url).await?,
    };
    context.out.print(&view, |view| text(view, &context.out))?;
    Ok(ExitCode::SUCCESS)
}

fn text(view: &RegistryView, out: &Out) -> String {
    let mut text = String::new();
    let tone = match view.phase.as_str() {
        "settled" => Tone::Good,
        _ => Tone::Busy,
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "in force    {}", view.url);
    if let Some(next) = &view.next {
        let since = view.since.map(age).unwrap_or_default();
        let _ = writeln!(
            text,
            "switching   to {next}, for {since}; documents go to both"
        );
    }
    let _ = writeln!(text, "phase       {}", out.tint(&view.phase, tone));
    let _ = writeln!(
        text,
        "followed    by {} of {} nodes",
        view.following, view.nodes
    );
    if !view.waiting.is_empty() {
        let names: Vec<_> = view.waiting.iter().map(ToString::to_string).collect();
        let all = view.nodes - view.following;
        let more = (all as usize).saturating_sub(names.len());
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(text, "not by      {}{more}", names.join(" "));
    }
    if let Some(readers) = view.readers {
        let more = match (readers as usize).saturating_sub(view.reading.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = view.reading.join(" ");
        let _ = match readers {
            0 => writeln!(text, "read        by no other balancer"),
            _ => writeln!(text, "read also   by {readers}: {names}{more}"),
        };
    }
    let _ = writeln!(text, "embedded    at revision {}", view.revision);
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::out::Format;

    #[test]
    fn a_switch_names_whom_it_waits_for() {
        let view = serde_json::json!({"url": "embedded", "phase": "confirming", "next": "etcd://h/p", "following": 1, "nodes": 40,
            "waiting": ["n2", "n3"], "readers": 3, "reading": ["lb-1"], "revision": 7});
        let view: RegistryView = serde_json::from_value(view).unwrap();
        let said = text(&view, &Out::new(Format::Text));
        assert!(said.contains("switching   to etcd://h/p"), "{said}");
        assert!(said.contains("not by      n2 n3 and 37 more"), "{said}");
        assert!(said.contains("read also   by 3: lb-1 and 2 more"), "{said}");
    }
}
