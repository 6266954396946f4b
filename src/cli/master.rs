//! `hancock master`: one of the masters of a cluster, and who they are.

mod comeback;
mod list;
mod place;
mod run;
mod start;

use std::path::PathBuf;
use std::process::ExitCode;

use hancock_proto::api::MasterView;

use super::Context;
use super::out::Out;

pub use comeback::{RestoreArgs, restore};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    #[command(flatten)]
    Here(Here),
    #[command(flatten)]
    Cluster(Cluster),
}

/// What is done on the master's own machine.
#[derive(Debug, clap::Subcommand)]
pub enum Here {
    /// Run a master that init or join has prepared
    Run(Box<place::Args>),
    /// Prepare the first master of a new cluster, and print the cluster's tokens
    Init(Box<place::Args>),
    /// Prepare one more master of a cluster
    Join(Box<start::JoinArgs>),
    /// Make a stopped master the only one, after the majority was lost for ever
    Recover(Box<comeback::RecoverArgs>),
}

/// What the masters are asked for.
#[derive(Debug, clap::Subcommand)]
pub enum Cluster {
    /// List the masters: who leads, who votes, how far each log is, which version and format each has
    List,
    /// Send a master away for ever
    Remove(Named),
    /// Make a master the leader
    Transfer(Named),
}

/// One of the masters.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Its name
    name: String,
}

/// Does what needs no other master.
///
/// # Errors
/// What is asked for cannot be done here.
pub fn here(command: Here, token: &Option<PathBuf>, out: &Out) -> anyhow::Result<ExitCode> {
    match command {
        Here::Run(args) => run::run(*args),
        Here::Init(args) => start::init(*args, out),
        Here::Join(args) => start::join(*args, token.as_deref(), out),
        Here::Recover(args) => comeback::recover(*args, out),
    }
}

/// Asks the masters.
///
/// # Errors
/// None can be reached, or they refuse.
pub async fn ask(context: &Context, command: &Cluster) -> anyhow::Result<ExitCode> {
    let masters: Vec<MasterView> = match command {
        Cluster::List => context.client.masters().await?,
        Cluster::Remove(master) => context.client.remove_master(&master.name).await?,
        Cluster::Transfer(master) => context.client.transfer(&master.name).await?,
    };
    let out = &context.out;
    out.print(&masters, |masters| list::text(masters, out))?;
    Ok(ExitCode::SUCCESS)
}
