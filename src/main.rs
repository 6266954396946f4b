//! `hancock`: one binary for node daemon, master, command line and the whole system on a laptop.
//!
//! Parses the command line and calls one function. Exit codes: see [`cli::exit`].

mod boot;
mod cli;
mod handover;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::start()
}
