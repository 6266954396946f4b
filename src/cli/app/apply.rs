//! `hancock app apply`: makes a spec come true.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::args::WaitArgs;
use crate::cli::deed::Deed;
use crate::cli::{Context, spec_file, wait};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Spec in YAML, TOML or JSON, by its extension; `-` reads YAML from standard input
    file: PathBuf,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Applies the file.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let spec = spec_file::read(&args.file)?;
    let reply = context.client.apply(&spec).await?;
    wait::after(context, &reply, Deed::Apply, &args.wait).await
}
