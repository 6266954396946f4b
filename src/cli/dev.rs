//! `hancock dev`: master, agent, balancer and embedded registry in one process, over the same seams as on many machines.

mod demo;
mod engine;
mod image;
mod pipe;
mod system;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::boot::{self, DataDir, Stop};
use system::System;

/// Time everything has to end after the first Ctrl-C; instances have their own grace period within it.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Exit status of a program ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Options of `hancock dev`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also apply a demo app of 3 instances and say how to use it
    #[arg(long)]
    demo: bool,
    /// What runs the instances; auto takes Docker when its socket answers
    #[arg(long, value_enum, default_value_t = Runtime::Auto)]
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
    /// Leave the instances running on Ctrl-C; the next start adopts them
    #[arg(long)]
    keep: bool,
}

/// What runs the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// Docker when its socket answers, otherwise plain processes
    Auto,
    /// The Docker engine
    Docker,
    /// Plain processes
    Process,
}

/// Runs until asked to stop.
///
/// # Errors
/// Something it needs is taken, missing or broken.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    boot::tracing("warn");
    // Control work only: the balancer's data plane has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let code = runtime.block_on(serve(args));
    // Tasks that still wait for something must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let sockets = system::Sockets {
        http: boot::bind(args.http, "--http")?,
        admin: boot::bind(args.admin, "--admin")?,
        api: boot::bind(args.api, "--api")?,
    };
    let data = DataDir::open(&args.data_dir.clone().unwrap_or_else(boot::default_data_dir))?;
    let system = tokio::select! {
        system = System::start(&data, sockets, args.runtime) => system?,
        () = stop.asked() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    println!("{}", system.banner());
    let outcome = tokio::select! {
        outcome = present(&args, &system, &data) => outcome,
        reason = system.failed() => Err(reason),
        () = stop.asked() => Ok(()),
    };
    end(system, &args, &mut stop)
        .await
        .and(outcome.map(|()| ExitCode::SUCCESS))
}

/// What the terminal shows while everything runs; returns only with an error.
async fn present(args: &Args, system: &System, data: &DataDir) -> anyhow::Result<()> {
    if args.demo {
        demo::run(system, data).await?;
    }
    std::future::pending().await
}

async fn end(system: System, args: &Args, stop: &mut Stop) -> anyhow::Result<()> {
    match args.keep {
        true => println!("\nstopping; instances go on running (Ctrl-C again to stop at once)"),
        false => println!(
            "\nstopping, instances too (Ctrl-C again to stop at once; --keep leaves them running)"
        ),
    }
    tokio::select! {
        () = system.shutdown(!args.keep, STOP_DEADLINE) => Ok(()),
        () = stop.asked() => std::process::exit(i32::from(INTERRUPTED)),
    }
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
    fn addresses_may_leave_out_the_ip() {
        assert_eq!(address(":8080").unwrap(), "0.0.0.0:8080".parse().unwrap());
        assert_eq!(
            address("127.0.0.1:1").unwrap(),
            "127.0.0.1:1".parse().unwrap()
        );
        assert!(address("localhost").unwrap_err().contains("IP:PORT"));
    }
}
