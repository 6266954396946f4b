//! `hancock app show`: everything about one app.

use std::process::ExitCode;

use hancock_proto::api::AppDetail;

use crate::cli::args::AppArg;
use crate::cli::out::Out;
use crate::cli::{Context, show};

/// Shows one app.
pub async fn run(context: &Context, args: &AppArg) -> anyhow::Result<ExitCode> {
    let app = context.client.existing_app(&args.app).await?;
    context.out.print(&app, |app| text(app, &context.out))?;
    Ok(ExitCode::SUCCESS)
}

fn text(app: &AppDetail, out: &Out) -> String {
    let summary = &app.summary;
    let stopped = if summary.stopped { ", stopped" } else { "" };
    let mut text = format!(
        "app {} version {}: {} of {} serving{stopped}\nhosts: {}\npublished: index {}\n",
        summary.app,
        summary.version,
        summary.serving,
        summary.replicas,
        summary.hosts.join(" "),
        app.published,
    );
    if let Some(deployment) = &app.deployment {
        text += &format!("{}\n", show::deployment_line(deployment, out));
        if !deployment.reason.is_empty() {
            text += &format!("  {}\n", crate::cli::table::harmless(&deployment.reason));
        }
    }
    text += &format!("\n{}", show::instances(&app.instances, out));
    let spec = serde_json::to_string_pretty(&app.spec).unwrap_or_default();
    text + &format!("\nspec with every default:\n{spec}\n")
}
