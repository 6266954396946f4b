//! `hancock app plan`: what applying a spec would do.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use hancock_proto::api::{FieldChange, PlanAction, PlanReply};
use hancock_proto::resources::Usage;
use serde_json::Value;

use crate::cli::args::{bytes, cores};
use crate::cli::out::{Out, Tone};
use crate::cli::table::{Cell, Table};
use crate::cli::{Context, spec_file};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Spec in YAML, TOML or JSON, by its extension; `-` reads YAML from standard input
    file: PathBuf,
}

/// Shows the plan.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let spec = spec_file::read(&args.file)?;
    let plan = context.client.plan(&spec).await?;
    context.out.print(&plan, |plan| text(plan, &context.out))?;
    Ok(ExitCode::SUCCESS)
}

fn text(plan: &PlanReply, out: &Out) -> String {
    let mut text = format!("{}: {}\n", plan.app, action(plan));
    for FieldChange { path, old, new } in &plan.changes {
        let _ = match (old, new) {
            (Value::Null, new) => writeln!(text, "  {} {path}: {new}", out.tint("+", Tone::Good)),
            (old, Value::Null) => writeln!(text, "  {} {path}: {old}", out.tint("-", Tone::Bad)),
            (old, new) => writeln!(
                text,
                "  {} {path}: {old} → {new}",
                out.tint("~", Tone::Busy)
            ),
        };
    }
    if !plan.placements.is_empty() {
        let mut table = Table::new(&["NODE", "WHY"]);
        for placed in &plan.placements {
            table.row([Cell::from(&placed.node), Cell::from(&placed.reason)]);
        }
        let _ = write!(text, "\nnew instances:\n{}", table.render(out));
        let Usage { cpu, memory, disk } = plan.peak;
        let (cpu, memory, disk) = (cores(cpu), bytes(memory), bytes(disk));
        let _ = writeln!(
            text,
            "\nreserved while old and new run side by side: {cpu} cores, {memory} memory, {disk} disk"
        );
    }
    for note in &plan.notes {
        let _ = writeln!(text, "\n{note}");
    }
    if !plan.unplaceable.is_empty() {
        let _ = writeln!(
            text,
            "\n{}",
            out.tint("not every instance finds a place:", Tone::Bad)
        );
        for why in &plan.unplaceable {
            let _ = writeln!(text, "  {why}");
        }
    }
    text
}

fn action(plan: &PlanReply) -> &'static str {
    match plan.action {
        PlanAction::Create => "new app, it is started",
        PlanAction::Replace => "a new set of instances is started and takes over",
        PlanAction::Scale => "instances are added or removed, none is replaced",
        PlanAction::Reroute => {
            "what balancers see and limits change in place, no instance is started or stopped"
        }
        PlanAction::Nothing if plan.changes.is_empty() => "nothing changes",
        // Only a stopped app takes changes without doing anything.
        PlanAction::Nothing => "nothing happens now; the app is stopped and starts with this",
    }
}
