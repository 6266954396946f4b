//! `hancock completions`: a completion script for a shell.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::out::{Format, Out};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hancock", &mut script);
    Out::new(Format::Text).text(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
