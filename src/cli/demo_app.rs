//! `hancock demo-app`: the application every demonstration and test runs.
//!
//! It says who answers, and misbehaves on demand: late, deaf to signals, unhealthy, slow, streaming. It learns its port as every app does,
//! by `$PORT` or `--port`.

mod echo;
mod life;
mod routes;
mod state;
mod websocket;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use hancock_proto::units::Span;

use state::{Identity, State};

/// Switches; each has a variable too, so that a spec's `environment` can set it.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Port to serve HTTP on
    #[arg(long, env = "PORT")]
    port: u16,
    /// Port of a TCP echo
    #[arg(long, env = "PORT_ECHO")]
    echo_port: Option<u16>,
    /// Begin each echo with a line that says who answers
    #[arg(long, env = "DEMO_ECHO_GREETS", value_parser = FalseyValueParser::new())]
    echo_greets: bool,
    /// First word of every answer [default: v and $HANCOCK_VERSION]
    #[arg(long, env = "DEMO_VERSION")]
    app_version: Option<String>,
    /// Time before it listens
    #[arg(long, env = "DEMO_WARMUP", default_value = "0s")]
    warmup: Span,
    /// Never listen
    #[arg(long, env = "DEMO_NEVER_READY", value_parser = FalseyValueParser::new())]
    never_ready: bool,
    /// Answer /healthz with 503 from the start
    #[arg(long, env = "DEMO_FAIL_HEALTH", value_parser = FalseyValueParser::new())]
    fail_health: bool,
    /// Go on as before after SIGTERM
    #[arg(long, env = "DEMO_IGNORE_TERM", value_parser = FalseyValueParser::new())]
    ignore_term: bool,
    /// Go on serving for so long after SIGTERM
    #[arg(long, env = "DEMO_DRAIN", default_value = "0s")]
    drain: Span,
    /// End by itself after this time
    #[arg(long, env = "DEMO_EXIT_AFTER")]
    exit_after: Option<Span>,
    /// Status to end with by itself; without --exit-after at once
    #[arg(long, env = "DEMO_EXIT_CODE")]
    exit_code: Option<u8>,
}

/// Serves until told to stop.
///
/// # Errors
/// The port cannot be used.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let (None, Some(code)) = (args.exit_after, args.exit_code) {
        say(format_args!("demo ends at once with status {code}"));
        return Ok(ExitCode::from(code));
    }
    let mut state = State::new(
        Identity::learn(args.app_version.as_deref()),
        args.fail_health,
    );
    state.echo_greets = args.echo_greets;
    let state = Arc::new(state);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let code = runtime.block_on(life::live(args, state));
    // What still runs after its deadline is cut off with the process.
    runtime.shutdown_background();
    code
}

/// Prints a line at once. A closed log is no reason to stop serving.
fn say(text: impl std::fmt::Display) {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests;
