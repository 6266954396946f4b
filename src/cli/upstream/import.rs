//! `hancock upstream import`: once, and nothing is deleted. A bad record is named and left; the others are imported.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::source::{self, From, Record, Side};
use super::target::{Refused, Target};
use crate::cli::exit;
use crate::cli::out::{Out, Tone};
use crate::cli::table::{Cell, Table};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where the documents are
    #[arg(long, value_name = "KIND", value_enum)]
    from: From,
    /// Address of the store [default: 127.0.0.1, with the store's usual port], or the file
    #[arg(value_name = "ADDR|PATH")]
    place: Option<String>,
    /// The balancer's management API
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1995")]
    to: String,
    /// The balancer's framed management protocol, for documents of TCP ports
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1895")]
    to_stream: String,
    /// What all keys of the store begin with
    #[arg(long, value_name = "KEY", default_value = "config/slardar/")]
    prefix: String,
    /// File with the token the balancer wants from other machines
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Only show what would be imported
    #[arg(long)]
    dry_run: bool,
}

const EXAMPLES: &str = "\
Examples:
  hancock upstream import --from consul 10.0.0.5:8500 --dry-run
  hancock upstream import --from etcd-v2 10.0.0.5:2379 --to 127.0.0.1:1995
  curl http://old:1995/upstreams > all.json
  hancock upstream import --from file all.json

A file holds what GET /upstreams shows. A folder holds one document per file,
called NAME or NAME.json; those of TCP ports are in its folder upstreams_stream.

Nothing is deleted. A document replaces the one of its name as a whole. Exit
code 1: some record was refused; its name and the reason are shown.";

/// Names a Slardar's configuration file defines, which go before those of the store.
const OWN: [&str; 2] = ["store", "logger"];

/// What became of a record.
#[derive(Debug, PartialEq, serde::Serialize)]
struct Line {
    name: String,
    side: Side,
    result: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Imported,
    WouldBeImported,
    LeftOut,
    Refused,
}

/// Imports, and tells what became of each record.
///
/// # Errors
/// The store cannot be read, or the balancer cannot be reached.
pub async fn run(args: &Args, out: &Out) -> anyhow::Result<ExitCode> {
    let records = source::read(args.from, args.place.as_deref(), &args.prefix).await?;
    let target = Target::new(&args.to, &args.to_stream, token(args)?)?;
    let mut lines = Vec::with_capacity(records.len());
    for record in records {
        match one(&record, &target, args.dry_run).await {
            Ok(line) => lines.push(line),
            Err(error) => {
                print(&lines, out)?;
                return Err(error);
            }
        }
    }
    print(&lines, out)?;
    let refused = lines.iter().any(|line| line.result == Outcome::Refused);
    Ok(ExitCode::from(if refused { exit::FAILED } else { 0 }))
}

fn token(args: &Args) -> anyhow::Result<Option<String>> {
    let Some(path) = &args.token_file else {
        return Ok(None);
    };
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {shown}; give another file with --token-file"))?;
    match text.trim() {
        "" => bail!("{shown} holds no token; give another file with --token-file"),
        token => Ok(Some(token.to_owned())),
    }
}

async fn one(record: &Record, target: &Target, dry_run: bool) -> anyhow::Result<Line> {
    let (result, reason) = match &record.document {
        _ if OWN.contains(&record.name.as_str()) => {
            let reason = "a balancer has its own, set by its options";
            (Outcome::LeftOut, Some(reason.to_owned()))
        }
        Err(problem) => (Outcome::Refused, Some(problem.clone())),
        Ok(document) if dry_run => {
            match hancock_balancer::check(&record.name, document.as_bytes()) {
                Ok(()) => (Outcome::WouldBeImported, None),
                Err(problem) => (Outcome::Refused, Some(problem)),
            }
        }
        Ok(document) => match target.put(record.side, &record.name, document).await? {
            Ok(()) => (Outcome::Imported, None),
            Err(Refused(problem)) => (Outcome::Refused, Some(problem)),
        },
    };
    Ok(Line {
        name: record.name.clone(),
        side: record.side,
        result,
        reason,
    })
}

fn print(lines: &[Line], out: &Out) -> std::io::Result<()> {
    out.print(&lines, |lines| text(lines, out))
}

fn text(lines: &[Line], out: &Out) -> String {
    let mut table = Table::new(&["UPSTREAM", "SIDE", "RESULT", "REASON"]);
    for line in lines {
        table.row([
            Cell::from(&line.name),
            Cell::from(line.side.word()),
            Cell::toned(line.result.words(), line.result.tone()),
            Cell::from(line.reason.as_deref().unwrap_or_default()),
        ]);
    }
    let count = |wanted| lines.iter().filter(|l| l.result == wanted).count();
    let counts = [
        Outcome::Imported,
        Outcome::WouldBeImported,
        Outcome::LeftOut,
        Outcome::Refused,
    ];
    let counts = counts.map(|outcome| (count(outcome), outcome.words()));
    let told = counts.iter().filter(|(n, _)| *n > 0);
    let told: Vec<String> = told.map(|(n, words)| format!("{n} {words}")).collect();
    match told.is_empty() {
        true => "nothing is stored there\n".to_owned(),
        false => format!("{}{}\n", table.render(out), told.join(", ")),
    }
}

impl Outcome {
    fn words(self) -> &'static str {
        match self {
            Outcome::Imported => "imported",
            Outcome::WouldBeImported => "would be imported",
            Outcome::LeftOut => "left out",
            Outcome::Refused => "refused",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Outcome::Imported | Outcome::WouldBeImported => Tone::Good,
            Outcome::LeftOut => Tone::Faint,
            Outcome::Refused => Tone::Bad,
        }
    }
}
