//! The shim as a program of its own, for this crate's tests. Shipped is the same code as a hidden command of `hancock`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hancock_agent::runtime::process::shim_main(std::env::args_os().skip(1))
}
