//! `hancock app delete`.

use std::process::ExitCode;

use anyhow::bail;
use hancock_proto::api::AppDetail;

use crate::cli::args::{AppArg, WaitArgs};
use crate::cli::confirm::{Yes, agreed};
use crate::cli::deed::Deed;
use crate::cli::{Context, wait};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArg,
    #[command(flatten)]
    yes: Yes,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Deletes; a person is asked first.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    if args.yes.asks(&context.out) {
        let app = context.client.existing_app(&args.app.app).await?;
        if !agreed(&context.out, &question(&app))? {
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
    format!("delete app {name} and stop its {running} running {noun}?")
}
