//! `hancock`: one binary for node daemon, master, command line and the whole system on a laptop.
//!
//! Parses the command line and calls one function. Exit codes: see [`cli::exit`].

mod boot;
mod cli;
mod handover;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all: an HTTP client built before a TLS provider is chosen panics. It fails only when one is chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli::Cli::try_parse() {
        Ok(cli) => cli::main(cli),
        Err(error) => cli::exit::misunderstood(&error),
    }
}
