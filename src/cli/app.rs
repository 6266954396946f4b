//! `hancock app`: describe, start and change apps.

mod apply;
mod delete;
mod history;
pub mod init;
mod lifecycle;
mod list;
mod plan;
mod rollback;
mod scale;
mod show;
pub mod validate;

use std::process::ExitCode;

use super::Context;
use super::args::{AppArg, AppWaitArgs};
use super::deed::Deed;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print a commented example spec
    Init(init::Args),
    /// Check a spec file; needs no master
    Validate(validate::Args),
    /// Show what applying a spec would do
    Plan(plan::Args),
    /// Make a spec come true
    Apply(apply::Args),
    /// List apps
    List,
    /// Show one app: instances, deployment, with --spec all its fields
    Show(show::Args),
    /// List an app's versions
    History(AppArg),
    /// Go back to an earlier version
    Rollback(rollback::Args),
    /// Change the number of instances
    Scale(scale::Args),
    /// Replace all instances without a break
    Restart(AppWaitArgs),
    /// Stop all instances; the app stays known
    Stop(AppWaitArgs),
    /// Start a stopped app again
    Start(AppWaitArgs),
    /// Stop all instances and forget the app
    Delete(delete::Args),
}

/// Runs one of them against the master.
pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // Need no master; answered before.
        Command::Init(args) => init::run(&args),
        Command::Validate(args) => validate::run(&args, &context.out),
        Command::Plan(args) => plan::run(context, &args).await,
        Command::Apply(args) => apply::run(context, &args).await,
        Command::List => list::run(context).await,
        Command::Show(args) => show::run(context, &args).await,
        Command::History(args) => history::run(context, &args).await,
        Command::Rollback(args) => rollback::run(context, &args).await,
        Command::Scale(args) => scale::run(context, &args).await,
        Command::Restart(args) => lifecycle::run(context, &args, "restart", Deed::Restart).await,
        Command::Stop(args) => lifecycle::run(context, &args, "stop", Deed::Stop).await,
        Command::Start(args) => lifecycle::run(context, &args, "start", Deed::Start).await,
        Command::Delete(args) => delete::run(context, &args).await,
    }
}
