//! `hancock upstream`: documents of upstreams, from where a Slardar keeps them to where they are served.

mod import;
mod source;
mod target;

use std::process::ExitCode;

use super::out::Out;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Put the documents a Slardar has stored into a running balancer
    Import(import::Args),
}

/// Runs one of them.
///
/// # Errors
/// Nothing could be read, or nobody takes it.
pub async fn run(command: Command, out: &Out) -> anyhow::Result<ExitCode> {
    match command {
        Command::Import(args) => import::run(&args, out).await,
    }
}
