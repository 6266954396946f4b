//! `hancock doctor`: whether this machine can be a node, and what to do about what is missing.
//!
//! What is found out ([`read`]) is apart from what it means: checks are functions from [`facts`] to [`finding`]s.

mod cgroups;
mod clock;
mod engine;
mod facts;
mod finding;
mod limits;
mod network;
mod ports;
mod read;
mod room;

use std::path::PathBuf;
use std::process::ExitCode;

use super::client::Client;
use super::exit;
use super::out::Out;
use facts::Facts;
use finding::{Finding, Level};

/// Options of `hancock doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's configuration: its ports, folders and runtime are looked at, not the usual ones
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Looks at everything and tells what it found. `master`: whose clock is compared, when one was named.
///
/// # Errors
/// Standard output is closed or full.
pub async fn run(args: &Args, master: Option<Client>, out: &Out) -> anyhow::Result<ExitCode> {
    let facts = read::facts(args.config.as_deref(), master).await;
    let found = findings(&facts);
    out.print(&found, |found| finding::text(found, out))?;
    let failed = found.iter().any(|finding| finding.level == Level::Fail);
    Ok(match failed {
        true => ExitCode::from(exit::FAILED),
        false => ExitCode::SUCCESS,
    })
}

/// What all of it means, the worst last.
fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![facts.config()];
    found.extend(engine::check(facts));
    found.extend(cgroups::check(facts));
    found.extend(limits::check(facts));
    found.extend(network::check(facts));
    found.extend(ports::check(facts));
    found.extend(room::check(facts));
    found.push(clock::check(&facts.skew));
    found.sort_by_key(|finding| finding.level);
    found
}
