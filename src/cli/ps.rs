//! `hancock ps`: instances.

use std::process::ExitCode;

use hancock_proto::ids::AppName;

use super::{Context, show};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this app's
    app: Option<AppName>,
}

/// Lists instances.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let list = context.client.instances(args.app.as_ref()).await?;
    context
        .out
        .print(&list, |list| show::instances(list, &context.out))?;
    Ok(ExitCode::SUCCESS)
}
