//! `hancock app show`: everything about one app.

use std::process::ExitCode;

use hancock_proto::api::AppDetail;
use hancock_proto::app::image;
use hancock_proto::report::Life;

use super::list::serving;
use crate::cli::args::AppArg;
use crate::cli::out::Out;
use crate::cli::table::harmless;
use crate::cli::{Context, show, spec_text};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArg,
    /// The spec instead, with every default, as YAML to apply or compare
    #[arg(long)]
    spec: bool,
}

/// Shows one app.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let app = context.client.existing_app(&args.app.app).await?;
    match (args.spec, context.out.is_json()) {
        (true, true) => context.out.json(&app.spec)?,
        (true, false) => context.out.text(&spec_text::yaml(&app.spec)?)?,
        (false, _) => context.out.print(&app, |app| text(app, &context.out))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(app: &AppDetail, out: &Out) -> String {
    let (summary, spec) = (&app.summary, &app.spec);
    let mut rows = vec![
        ("app", summary.app.to_string()),
        ("version", summary.version.to_string()),
        ("serving", serving(summary).show(out)),
        ("hosts", super::list::places(summary)),
        ("image", spec.image.clone().unwrap_or_default()),
        ("digest", digest(app)),
        ("command", spec.command.join(" ")),
        ("each", reserved(app)),
    ];
    if let Some(deployment) = &app.deployment {
        rows.push(("deployment", latest(deployment, out)));
    }
    let rows = rows.iter().filter(|(_, value)| !value.is_empty());
    let mut text: String = rows
        .map(|(name, value)| format!("{name:<12} {value}\n"))
        .collect();
    text += &format!("\n{}", show::instances(&app.instances, out));
    text
}

/// What the image's name stands for; empty where there is nothing to say.
fn digest(app: &AppDetail) -> String {
    let by_name = app
        .spec
        .image
        .as_ref()
        .is_some_and(|i| image::digest(i).is_none());
    let runs = app.instances.iter().any(|i| i.life == Life::Running);
    match &app.image_digest {
        Some(digest) => digest.clone(),
        None if by_name && runs => {
            "none that a registry knows: each node runs what it has under this name".to_owned()
        }
        None => String::new(),
    }
}

/// What one instance reserves.
fn reserved(app: &AppDetail) -> String {
    let resources = &app.spec.resources;
    format!(
        "{} cores, {} memory, {} disk",
        resources.cpu, resources.memory, resources.disk
    )
}

fn latest(deployment: &hancock_proto::api::DeploymentView, out: &Out) -> String {
    let phase = out.tint(&deployment.phase, show::tone(deployment));
    let line = format!("{} {phase} {}", deployment.id, show::duration(deployment));
    match deployment.reason.as_str() {
        "" => line,
        reason => format!("{line}: {}", harmless(reason)),
    }
}
