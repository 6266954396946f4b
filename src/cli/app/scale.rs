//! `hancock app scale`.

use std::process::ExitCode;

use crate::cli::args::{AppArg, WaitArgs};
use crate::cli::deed::Deed;
use crate::cli::{Context, wait};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArg,
    /// Wanted number of instances
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000))]
    replicas: u32,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Changes the number of instances.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let reply = context.client.scale(&args.app.app, args.replicas).await?;
    wait::after(context, &reply, Deed::Scale(args.replicas), &args.wait).await
}
