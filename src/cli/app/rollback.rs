//! `hancock app rollback`.

use std::process::ExitCode;

use hancock_proto::ids::Version;

use crate::cli::args::{AppArg, WaitArgs};
use crate::cli::deed::Deed;
use crate::cli::{Context, wait};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArg,
    /// The version to go back to [default: the newest that once was successful, before this one]
    #[arg(long = "version", value_name = "N")]
    to: Option<u64>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Goes back.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let reply = context
        .client
        .rollback(&args.app.app, args.to.map(Version))
        .await?;
    wait::after(context, &reply, Deed::Rollback, &args.wait).await
}
