//! `hancock run`: a job of a task, as if it ran here.

use std::process::ExitCode;

use anyhow::bail;
use hancock_proto::exec::Order;
use hancock_proto::ids::AppName;
use hancock_proto::units::Span;

use super::{Context, exec};

/// What the end of the help says.
const CODES: &str = "\
Exit codes:
  that of the job; 128 and the number of the signal that ended it
  125 when Hancock failed: no master, no such task, no instance in time, a lost connection
  126 or 127 when its command cannot be executed or does not exist

A job runs once or not at all. It ends when this command does, or when the connection is lost.

Examples:
  hancock run resize                             the app's own command
  hancock run resize -- /bin/resize a.png 640    another one, in the app's image
  hancock run -i resize < a.png > small.png      reads and writes this machine's files";

#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub struct Args {
    /// The job reads what comes on standard input here
    #[arg(short = 'i', long)]
    interactive: bool,
    /// How long to wait for an instance that has no other job; at most 10m
    #[arg(long, value_name = "TIME", default_value = "30s")]
    wait: Span,
    /// An app of kind task
    app: AppName,
    /// Another command than the app's own, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs it. Whatever goes wrong with Hancock itself has an exit code of its own.
pub async fn run(context: &Context, args: Args) -> ExitCode {
    match attend(context, args).await {
        Ok(code) => code,
        Err(error) => exec::failed(&error),
    }
}

async fn attend(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let order = Order {
        command: args.command,
        stdin: args.interactive,
        job: true,
        ..Order::default()
    };
    if let Some(problem) = order.problem() {
        bail!(problem);
    }
    let socket = context.client.run_job(&args.app, args.wait, &order);
    exec::carry(context, &order, socket.await?).await
}
