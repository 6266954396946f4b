//! `hancock dev`: master, agent, balancer and embedded registry in one process, over the same seams as on many machines.

mod demo;
pub(super) mod engine;
mod guide;
mod image;
mod news;
mod pipe;
mod system;
mod voice;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hancock_proto::api::AppSummary;

use crate::boot::{self, DataDir, Stop};
use crate::cli::client::Client;
use crate::cli::out::{Format, Out};
use guide::Guide;
use system::{Counts, System};
use voice::Voice;

/// Time everything has to end after the first Ctrl-C; instances have their own grace period within it.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Time the terminal has to take what is still to be said in the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Exit status of a program ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Options of `hancock dev`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also apply a demo app of 3 instances and say how to use it
    #[arg(long)]
    demo: bool,
    /// What runs the instances: docker, process (plain ones), or auto: Docker when its socket answers
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = Runtime::Auto)]
    runtime: Runtime,
    /// Where end users' HTTP requests enter
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080", value_parser = address)]
    http: SocketAddr,
    /// The balancer's status and management address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1995", value_parser = address)]
    admin: SocketAddr,
    /// The master's API address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400", value_parser = address)]
    api: SocketAddr,
    /// Where state is kept [default: the user's state directory, ~/.local/state/hancock]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    registry: super::etcd::Args,
    /// A label of this node, for the selectors of zones; may be given several times
    #[arg(long, value_name = "LABEL=VALUE", value_parser = super::zone::label)]
    label: Vec<(String, String)>,
    /// Leave the instances running on Ctrl-C; the next start adopts them
    #[arg(long)]
    keep: bool,
    /// Do not tell what happens while it runs
    #[arg(long)]
    quiet: bool,
}

/// What runs the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    // No help texts here: they would stretch the help of the command.
    #[allow(missing_docs)]
    Auto,
    #[allow(missing_docs)]
    Docker,
    #[allow(missing_docs)]
    Process,
}

impl Runtime {
    /// Whether a data directory that was used with `name` is used with this one, too.
    fn is(self, name: &str) -> bool {
        match self {
            Self::Auto => true,
            Self::Docker => name == engine::DOCKER,
            Self::Process => name == engine::PROCESS,
        }
    }
}

/// Runs until asked to stop.
///
/// # Errors
/// Something it needs is taken, missing or broken.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    boot::tracing("warn");
    boot::run(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let registry = args.registry.chosen()?;
    let registries = args.registry.opener()?;
    let sockets = system::Sockets {
        http: boot::bind(args.http, "--http ADDR")?,
        admin: boot::bind(args.admin, "--admin ADDR")?,
        api: boot::bind(args.api, "--api ADDR")?,
    };
    let data = DataDir::open(&args.data_dir.clone().unwrap_or_else(boot::default_data_dir))?;
    let labels = args.label.iter().cloned().collect();
    let system = tokio::select! {
        system = System::start(&data, sockets, args.runtime, labels, registries) => system?,
        () = stop.asked() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    if let Some(registry) = &registry {
        let client = Client::new(&system.api_url())?;
        client.choose_registry(registry).await?;
    }
    let voice = Voice::to(std::io::stdout())?;
    voice.say(system.banner());
    let outcome = tokio::select! {
        outcome = present(&args, &system, &data, &voice) => outcome,
        reason = system.failed() => Err(reason),
        () = stop.asked() => Ok(()),
    };
    voice.say(match args.keep {
        true => "\nstopping; instances go on running (Ctrl-C again to stop at once)",
        false => {
            "\nstopping, instances too (Ctrl-C again to stop at once; --keep leaves them running)"
        }
    });
    let counts = tokio::select! {
        counts = system.shutdown(!args.keep, STOP_DEADLINE) => counts,
        () = stop.asked() => std::process::exit(i32::from(INTERRUPTED)),
    };
    voice.say(farewell(args.keep, counts, data.path()));
    voice.close(LAST_WORDS);
    outcome.map(|()| ExitCode::SUCCESS)
}

/// What the terminal shows while everything runs; returns only with an error.
async fn present(
    args: &Args,
    system: &System,
    data: &DataDir,
    voice: &Voice,
) -> anyhow::Result<()> {
    let client = Client::new(&system.api_url())?;
    match args.demo {
        true => demo::run(system, data, &client, voice).await?,
        false => voice.say(welcome(system, &client.apps().await?)),
    }
    voice.say("Ctrl-C stops everything; the next start finds the apps again.\n");
    if args.quiet {
        std::future::pending().await
    }
    news::follow(&client, voice, &Out::new(Format::Text)).await
}

/// What to do with a system without a demo.
fn welcome(system: &System, apps: &[AppSummary]) -> String {
    let (intro, guide) = match apps {
        [] => (
            "no apps yet; in another terminal:".to_owned(),
            Guide::new()
                .row("app init > web.yaml", "a commented example to change")
                .row("app apply web.yaml --wait", "run it")
                .row("ps", "its instances")
                .row("--help", "everything else"),
        ),
        apps => {
            let names: Vec<String> = apps.iter().map(known).collect();
            (
                format!(
                    "apps of earlier runs: {}; in another terminal:",
                    names.join(", ")
                ),
                Guide::new()
                    .row("app list", "the apps")
                    .row("ps", "their instances")
                    .row("--help", "everything else"),
            )
        }
    };
    format!("{intro}\n{}", guide.text(&system.api_url()))
}

fn known(app: &AppSummary) -> String {
    match app.stopped {
        true => format!("{} (stopped)", app.app),
        false => app.app.to_string(),
    }
}

/// What became of the instances, and where the apps are.
fn farewell(keep: bool, counts: Counts, data: &Path) -> String {
    let of = |n: usize| format!("{n} instance{}", if n == 1 { "" } else { "s" });
    let instances = match (counts.before, counts.after) {
        (Some(0) | None, _) => "stopped".to_owned(),
        (Some(before), _) if keep => format!("stopped; {} left running", of(before)),
        (Some(before), Some(0)) => format!("stopped: {}", of(before)),
        (Some(before), None) => format!("stopped; whether {} ended cannot be told", of(before)),
        (Some(before), Some(after)) => format!(
            "stopped: {} of {}; the others still run and the next start takes them over",
            before.saturating_sub(after),
            of(before)
        ),
    };
    format!(
        "{instances}; apps are remembered in {}, the next start finds them",
        data.display()
    )
}

/// `:8080` means every IPv4 address of this machine.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    whole.parse().map_err(|_| {
        format!("{text:?} is not an address; write IP:PORT, like 127.0.0.1:8080 or :8080")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_farewell_tells_what_became_of_instances() {
        let told = |keep, before, after| {
            let counts = Counts {
                before: Some(before),
                after,
            };
            let text = farewell(keep, counts, Path::new("/d"));
            text.split("; apps").next().map(str::to_owned).unwrap()
        };
        assert_eq!(told(false, 0, Some(0)), "stopped");
        assert_eq!(told(false, 3, Some(0)), "stopped: 3 instances");
        assert_eq!(told(true, 1, None), "stopped; 1 instance left running");
        assert!(told(false, 3, Some(1)).starts_with("stopped: 2 of 3 instances; the others"));
        assert!(told(false, 3, None).contains("cannot be told"));
    }

    #[test]
    fn addresses_may_leave_out_the_ip() {
        assert_eq!(address(":8080").unwrap(), "0.0.0.0:8080".parse().unwrap());
        assert_eq!(
            address("127.0.0.1:1").unwrap(),
            "127.0.0.1:1".parse().unwrap()
        );
        assert!(address("localhost").unwrap_err().contains("IP:PORT"));
    }
}
