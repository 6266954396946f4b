//! `upgrade`: asks a running daemon to hand over to another process.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hancock_proto::units::Span;
use tokio::time::{Instant, sleep, timeout_at};

use super::message::{Answer, Wish};
use super::{DRAIN, TIMEOUT, door};

/// Between tries, when the daemon changes just now.
const AGAIN: Duration = Duration::from_millis(100);
/// Shortest time a process is given.
const SHORTEST: Duration = Duration::from_millis(100);

/// Options of `upgrade`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is to take over [default: what the daemon was started from, as that file is now]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Time it may take to start, and again to serve, before the daemon goes on by itself [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    timeout: Option<Span>,
    /// Time that open sessions may go on in the former process; then they are closed [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = span)]
    drain: Option<Span>,
    /// Where the daemon keeps its data
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The daemon's configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What a signal means.
pub fn usual() -> Wish {
    wish(None, TIMEOUT, DRAIN)
}

fn wish(binary: Option<PathBuf>, timeout: Duration, drain: Duration) -> Wish {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Wish {
        binary,
        timeout_ms: ms(timeout),
        drain_ms: ms(drain),
    }
}

/// Asks the daemon in `data_dir`, and waits until another process serves.
///
/// # Errors
/// There is no daemon, or it goes on as before: why.
pub async fn run(args: Args, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let limit = args.timeout.map_or(TIMEOUT, |span| span.duration());
    let drain = args.drain.map_or(DRAIN, |span| span.duration());
    let binary = args.binary.map(|path| {
        let shown = path.display().to_string();
        std::path::absolute(path).with_context(|| format!("cannot find {shown}"))
    });
    let wish = wish(binary.transpose()?, limit, drain);
    // Two times, some for what is under way already, and some to spare.
    let until = Instant::now() + limit * 4 + super::LAST;
    match timeout_at(until, answered(&wish, data_dir)).await {
        Ok(answer) => match answer? {
            Answer::Done { pid, version } => {
                println!(
                    "process {pid} (version {version}) serves; the former one ends when nothing is open in it any more"
                );
                Ok(ExitCode::SUCCESS)
            }
            Answer::Failed { problem } => {
                bail!("no upgrade, the daemon serves as before: {problem}")
            }
        },
        Err(_) => bail!(
            "the daemon of {} does not answer; its log may say why",
            data_dir.display()
        ),
    }
}

async fn answered(wish: &Wish, data_dir: &Path) -> anyhow::Result<Answer> {
    loop {
        let mut wire = door::knock(data_dir).await.map_err(|error| {
            let shown = data_dir.display();
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => anyhow!(
                    "no daemon runs with the data directory {shown}; start it, or name its directory with --data-dir or --config"
                ),
                _ => anyhow!("cannot ask the daemon of {shown}: {error}"),
            }
        })?;
        let answer = match wire.send(wish, &[]).await {
            Ok(()) => wire.receive().await,
            Err(error) => Err(error),
        };
        if let Ok(Some((answer, _))) = answer {
            return Ok(answer);
        }
        // Another upgrade came first: who serves now is to be asked.
        sleep(AGAIN).await;
    }
}

fn span(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|e| format!("{e}"))?;
    match span.duration() < SHORTEST {
        true => Err(format!("{text} is too short; write 100ms or more")),
        false => Ok(span),
    }
}
