//! `hancock app history`: the versions of an app.

use std::process::ExitCode;

use hancock_proto::api::VersionInfo;

use crate::cli::Context;
use crate::cli::args::{AppArg, age};
use crate::cli::out::Out;
use crate::cli::table::Table;

/// Lists versions, as the master orders them.
pub async fn run(context: &Context, args: &AppArg) -> anyhow::Result<ExitCode> {
    let versions = context.client.history(&args.app).await?;
    context
        .out
        .print(&versions, |versions| text(versions, &context.out))?;
    Ok(ExitCode::SUCCESS)
}

fn text(versions: &[VersionInfo], out: &Out) -> String {
    let mut table = Table::new(&[
        "VERSION",
        "APPLIED",
        "DEPLOYMENT",
        "STABLE",
        "IMAGE",
        "DIGEST",
    ]);
    for version in versions {
        table.row([
            version.version.into(),
            format!("{} ago", age(version.at)).into(),
            version.deployment.clone().unwrap_or_default().into(),
            (if version.stable { "yes" } else { "" }).into(),
            version.image.clone().unwrap_or_default().into(),
            version.digest.clone().into(),
        ]);
    }
    table.render(out)
}
