//! `hancock` as it would be with a next format: for tests of upgrades only, see the feature `next-format`.

mod boot;
mod cli;
mod handover;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::start()
}
