//! `hancock app delete`.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::bail;
use hancock_proto::api::AppDetail;

use crate::cli::args::{AppArg, WaitArgs};
use crate::cli::deed::Deed;
use crate::cli::{Context, wait};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArg,
    /// Do not ask; scripts are never asked
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Deletes; a person is asked first.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let asks = !args.yes && context.out.is_live() && io::stdin().is_terminal();
    if asks {
        let app = context.client.existing_app(&args.app.app).await?;
        context.out.ask(&question(&app))?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        if !is_yes(&answer) {
            bail!("nothing was deleted");
        }
    }
    let reply = context.client.delete(&args.app.app).await?;
    wait::after(context, &reply, Deed::Delete, &args.wait).await
}

fn question(app: &AppDetail) -> String {
    let name = &app.summary.app;
    let running = app.instances.iter().filter(|i| !i.life.is_over()).count();
    let noun = if running == 1 {
        "instance"
    } else {
        "instances"
    };
    format!("delete app {name} and stop its {running} running {noun}? [y/N] ")
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y\n", "Yes", " yes "].iter().all(|a| is_yes(a)));
        assert!(["", "\n", "n", "yep", "ye s"].iter().all(|a| !is_yes(a)));
    }
}
