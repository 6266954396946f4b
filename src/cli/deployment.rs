//! `hancock deployment`: a new version on its way in.

use std::process::ExitCode;

use hancock_proto::api::DeploymentView;
use hancock_proto::ids::{AppName, DeploymentId};

use super::args::WaitArgs;
use super::{Context, show, wait};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show how a deployment stands
    Status(StatusArgs),
    /// Stop a deployment; the old instances go on serving
    Abort(AbortArgs),
}

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Number of the deployment, or name of an app for its newest
    #[arg(value_name = "NUMBER|APP")]
    which: Which,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, clap::Args)]
pub struct AbortArgs {
    /// Number of the deployment, or name of an app for its newest
    #[arg(value_name = "NUMBER|APP")]
    which: Which,
}

/// How a deployment is named. A text of digits is a number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    Id(DeploymentId),
    NewestOf(AppName),
}

impl std::str::FromStr for Which {
    type Err = hancock_proto::ids::InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(number) => Ok(Self::Id(DeploymentId(number))),
            Err(_) => text.parse().map(Self::NewestOf),
        }
    }
}

/// Runs one of them.
pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Status(args) => {
            let view = find(context, &args.which).await?;
            if args.wait.wait {
                return wait::follow(context, view.id, args.wait.timeout).await;
            }
            context
                .out
                .print(&view, |view| show::deployment(view, &context.out))?;
        }
        Command::Abort(args) => {
            let view = find(context, &args.which).await?;
            let view = context.client.abort(view.id).await?;
            context
                .out
                .print(&view, |view| show::deployment(view, &context.out))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(context: &Context, which: &Which) -> anyhow::Result<DeploymentView> {
    let view = match which {
        Which::Id(id) => context.client.deployment(*id).await?,
        Which::NewestOf(app) => context.client.app_deployment(app).await?,
    };
    Ok(view)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn digits_are_a_number_and_words_an_app() {
        assert_eq!("7".parse::<Which>().unwrap(), Which::Id(DeploymentId(7)));
        assert!(matches!(
            "web".parse::<Which>().unwrap(),
            Which::NewestOf(_)
        ));
        assert!("Web!".parse::<Which>().is_err());
    }
}
