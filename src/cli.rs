//! The command line: one file per command, each with its arguments and one function.

mod agent;
mod app;
mod args;
mod balancer;
pub mod client;
mod completions;
mod confirm;
mod deed;
mod demo_app;
mod deployment;
pub mod dev;
mod doctor;
mod etcd;
mod events;
mod exec;
pub mod exit;
mod help;
mod image;
mod instance;
mod logs;
mod master;
mod node;
mod out;
mod ps;
mod registry;
mod run;
mod show;
mod snapshot;
pub mod spec_file;
mod spec_text;
mod spinner;
mod status;
mod table;
#[cfg(test)]
mod testing;
mod token;
mod upstream;
mod wait;
mod zone;

use std::process::ExitCode;

use anyhow::Context as _;

use client::Client;
use out::{Format, Out};

/// One place to run containers on many small machines.
#[derive(Debug, clap::Parser)]
#[command(
    name = "hancock",
    version,
    about,
    help_template = help::TEMPLATE,
    before_help = help::COMMANDS,
    after_help = help::EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options every command understands.
#[derive(Debug, clap::Args)]
struct Global {
    // Read from the environment by hand: what clap takes from there it shows in every usage line, as if it had to be given.
    /// The master's API, or several with commas: the next is asked when one is silent [default: $HANCOCK_MASTER, or port 7400 of this machine]
    #[arg(long, global = true, value_name = "URL", display_order = 900)]
    master: Option<String>,
    /// File with the operator's token [default: what HANCOCK_TOKEN holds]
    #[arg(long, global = true, value_name = "FILE", display_order = 900)]
    token_file: Option<std::path::PathBuf>,
    /// text, or json: see `hancock help output`
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        hide_default_value = true,
        default_value_t = Format::Text,
        display_order = 901
    )]
    output: Format,
}

impl Global {
    /// A client of the master, when one was named or a token says that there is one.
    fn named(&self) -> anyhow::Result<Option<Client>> {
        let variable = std::env::var("HANCOCK_MASTER").is_ok_and(|url| !url.is_empty());
        let token = token::given(self.token_file.as_deref())?;
        if self.master.is_none() && !variable && token.is_none() {
            return Ok(None);
        }
        let client = Client::new(&self.master(token.as_deref()))?;
        Ok(Some(client.showing(token)?))
    }

    fn master(&self, token: Option<&str>) -> String {
        let variable = || std::env::var("HANCOCK_MASTER").ok();
        let variable = || variable().filter(|url| !url.is_empty());
        let named = self.master.clone().or_else(variable);
        let default = match token.and_then(hancock_tls::Pin::of_token) {
            Some(_) => client::DEFAULT_ENCRYPTED,
            None => client::DEFAULT_MASTER,
        };
        named.unwrap_or_else(|| default.to_owned())
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the whole system on this machine
    Dev(dev::Args),
    /// Run one node: its instances, and the balancer in front of them
    Agent(Box<agent::Command>),
    /// Run only a balancer, managed in Slardar's words
    Balancer(Box<balancer::Command>),
    /// Whether this machine can be a node, and what to do about what is missing
    Doctor(doctor::Args),
    /// Move documents of upstreams
    #[command(subcommand, arg_required_else_help = true)]
    Upstream(upstream::Command),
    /// Run one of several masters, and look after them
    #[command(subcommand, arg_required_else_help = true)]
    Master(master::Command),
    /// Save the cluster into a file, look into one, begin again from one
    #[command(subcommand, arg_required_else_help = true)]
    Snapshot(snapshot::Command),
    /// Describe, start and change apps
    #[command(subcommand, arg_required_else_help = true)]
    App(app::Command),
    /// Look at a deployment or stop it
    #[command(subcommand, arg_required_else_help = true)]
    Deployment(deployment::Command),
    /// List instances
    Ps(ps::Args),
    /// Look at one instance, or have it replaced
    #[command(subcommand, arg_required_else_help = true)]
    Instance(instance::Command),
    /// Look at nodes
    #[command(subcommand, arg_required_else_help = true)]
    Node(node::Command),
    /// Look at images on nodes, or have them fetched
    #[command(subcommand, arg_required_else_help = true)]
    Image(image::Command),
    /// Look at zones of nodes and what they carry
    #[command(subcommand, arg_required_else_help = true)]
    Zone(zone::Command),
    /// Look at the upstream registry, or switch to another one
    #[command(subcommand, arg_required_else_help = true)]
    Registry(registry::Command),
    /// Run a command inside an instance
    Exec(exec::Args),
    /// Run a job of an app of kind task
    Run(run::Args),
    /// Print what an app's instances print
    Logs(logs::Args),
    /// List what happened
    Events(events::Args),
    /// Show how the cluster is
    Status,
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// What --output json prints
    #[command(hide = true, long_about = help::OUTPUT, help_template = "{about}")]
    Output,
    /// Stays beside one instance of the process runtime
    #[command(hide = true)]
    Shim(ShimArgs),
    /// The demo application
    #[command(hide = true)]
    DemoApp(demo_app::Args),
}

/// Arguments of the shim, passed on as they are: only the process runtime writes and reads them.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
struct ShimArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<std::ffi::OsString>,
}

/// What a command needs to talk to the master and to the user.
struct Context {
    client: Client,
    out: Out,
}

/// The program: parses the command line and runs what it asks for.
pub fn start() -> ExitCode {
    // First of all: an HTTP client built before a TLS provider is chosen panics. It fails only when one is chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match <Cli as clap::Parser>::try_parse() {
        Ok(cli) => main(cli),
        Err(error) => exit::misunderstood(&error),
    }
}

/// Runs the command that was asked for, prints the error it ends with, and gives the exit code.
fn main(cli: Cli) -> ExitCode {
    let format = cli.global.output;
    run(cli).unwrap_or_else(|error| exit::report(&error, format))
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    match command {
        Command::Dev(args) => dev::run(args),
        Command::Agent(command) => command.run(),
        Command::Balancer(command) => command.run(),
        Command::Master(master::Command::Here(command)) => {
            master::here(command, &global.token_file, &Out::new(global.output))
        }
        Command::Snapshot(snapshot::Command::Restore(args)) => {
            master::restore(*args, &Out::new(global.output))
        }
        Command::Snapshot(snapshot::Command::Inspect(args)) => {
            snapshot::inspect(&args, &Out::new(global.output))
        }
        Command::DemoApp(args) => demo_app::run(args),
        Command::Shim(shim) => Ok(hancock_agent::runtime::process::shim_main(shim.args)),
        Command::Completions(args) => completions::run(&args),
        Command::Output => {
            Out::new(Format::Text).text(help::OUTPUT)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::App(app::Command::Init(args)) => app::init::run(&args),
        Command::App(app::Command::Validate(args)) => {
            app::validate::run(&args, &Out::new(global.output))
        }
        Command::Node(command) if command.is_local() => {
            runtime()?.block_on(node::here(command, &Out::new(global.output)))
        }
        Command::Doctor(args) => {
            let master = global.named()?;
            let out = Out::new(global.output);
            runtime()?.block_on(doctor::run(&args, master, &out))
        }
        Command::Upstream(command) => {
            let out = Out::new(global.output);
            runtime()?.block_on(upstream::run(command, &out))
        }
        // Its exit codes are the command's: what goes wrong before must not look like one of those.
        command @ (Command::Exec(_) | Command::Run(_)) => {
            Ok(with_master(global, command).unwrap_or_else(|error| exec::failed(&error)))
        }
        command => with_master(global, command),
    }
}

fn with_master(global: Global, command: Command) -> anyhow::Result<ExitCode> {
    let token = token::given(global.token_file.as_deref())?;
    let context = Context {
        client: Client::new(&global.master(token.as_deref()))?.showing(token)?,
        out: Out::new(global.output),
    };
    runtime()?.block_on(ask(&context, command))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
}

async fn ask(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::App(command) => app::run(context, command).await,
        Command::Deployment(command) => deployment::run(context, command).await,
        Command::Ps(args) => ps::run(context, &args).await,
        Command::Instance(command) => instance::run(context, &command).await,
        Command::Node(command) => node::run(context, &command).await,
        Command::Image(command) => image::run(context, &command).await,
        Command::Zone(command) => zone::run(context, command).await,
        Command::Registry(command) => registry::run(context, &command).await,
        Command::Exec(args) => Ok(exec::run(context, args).await),
        Command::Run(args) => Ok(run::run(context, args).await),
        Command::Logs(args) => logs::run(context, &args).await,
        Command::Events(args) => events::run(context, &args).await,
        Command::Status => status::run(context).await,
        Command::Master(master::Command::Cluster(command)) => master::ask(context, &command).await,
        Command::Snapshot(snapshot::Command::Save(args)) => snapshot::save(context, &args).await,
        // Answered by `run` without a master.
        Command::Dev(_)
        | Command::Agent(_)
        | Command::Balancer(_)
        | Command::Doctor(_)
        | Command::Upstream(_)
        | Command::Master(_)
        | Command::Snapshot(_)
        | Command::DemoApp(_)
        | Command::Shim(_)
        | Command::Completions(_)
        | Command::Output => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_grouped_help_names_every_command() {
        let root = Cli::command();
        for command in root.get_subcommands().filter(|c| !c.is_hide_set()) {
            let name = command.get_name();
            assert!(help::COMMANDS.contains(&format!("  {name} ")), "{name}");
            for nested in command.get_subcommands() {
                let nested = nested.get_name();
                assert!(help::COMMANDS.contains(nested), "{name} {nested}");
            }
        }
        assert!(!help::COMMANDS.contains("shim"));
    }
}
