//! `hancock events`: what happened.

use std::process::ExitCode;
use std::time::Duration;

use hancock_proto::event::{Event, Level};

use super::Context;
use super::args::clock;
use super::client::ClientError;
use super::out::{Out, Tone};
use super::table::first_line;

/// How long one request waits for the next event.
const POLL: Duration = Duration::from_secs(10);
/// Time between tries while the master cannot be reached.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on with new events until stopped
    #[arg(short, long)]
    follow: bool,
    /// Only events after this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// Only the last N of those there are
    #[arg(long, value_name = "N", default_value_t = 50)]
    tail: usize,
}

/// Prints events, oldest first.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let mut past = all_after(context, args.after).await?;
    let last = past.last().map_or(args.after, |event| event.number);
    print(
        context,
        &past.split_off(past.len().saturating_sub(args.tail)),
    )?;
    match args.follow {
        true => follow(context, last).await,
        false => Ok(ExitCode::SUCCESS),
    }
}

/// Goes on until stopped, also over a restart of the master.
async fn follow(context: &Context, mut last: u64) -> anyhow::Result<ExitCode> {
    loop {
        match context.client.events(last, POLL).await {
            Ok(events) => {
                print(context, &events)?;
                last = events.last().map_or(last, |event| event.number);
            }
            Err(error) if error.is_passing() => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Everything there is: the master may answer in portions.
async fn all_after(context: &Context, after: u64) -> Result<Vec<Event>, ClientError> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let last = all.last().map_or(after, |event| event.number);
        let more = context.client.events(last, Duration::ZERO).await?;
        // Only ever forward, whatever is answered.
        let more: Vec<_> = more
            .into_iter()
            .filter(|event| event.number > last)
            .collect();
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
}

fn print(context: &Context, events: &[Event]) -> anyhow::Result<()> {
    for event in events {
        context
            .out
            .print(event, |event| text(event, &context.out))?;
    }
    Ok(())
}

fn text(event: &Event, out: &Out) -> String {
    let kind = out.tint(&format!("{:<21}", event.kind), Tone::Faint);
    format!("{}  {kind}  {}\n", clock(event.at), message(event, out))
}

/// What happened, in one line; what is not as wanted begins with its level.
pub fn message(event: &Event, out: &Out) -> String {
    let text = first_line(&event.message);
    match event.level {
        Level::Info => text,
        Level::Warning => format!("{} {text}", out.tint("warning:", Tone::Busy)),
        Level::Error => format!("{} {text}", out.tint("error:", Tone::Bad)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::out::Format;

    #[test]
    fn levels_are_words_of_their_own() {
        let event = serde_json::json!({
            "number": 1, "index": 1, "at": super::super::args::now(), "level": "warning", "kind": "node_lost",
            "message": "node n1 is lost\u{1b}[2J\nmore",
        });
        let event: Event = serde_json::from_value(event).unwrap();
        let line = text(&event, &Out::new(Format::Text));
        assert!(
            line.ends_with("  node_lost              warning: node n1 is lost\u{fffd}[2J\n"),
            "{line}"
        );
    }
}
