//! `hancock logs`: what an app's instances print.

use std::process::ExitCode;
use std::str::FromStr;

use hancock_proto::hub::LogLine;
use hancock_proto::ids::AppName;
use hancock_proto::time::Timestamp;
use hancock_proto::units::Span;

use super::Context;
use super::args::now;
use super::client::LogQuery;
use super::out::{Out, Tone};
use super::table::harmless;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the app
    app: AppName,
    /// Go on with new lines until stopped
    #[arg(short, long)]
    follow: bool,
    /// Only lines from then on: an age like 5m, or a time like 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Only the last N lines of each instance
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
}

/// A point in time.
#[derive(Debug, Clone, Copy)]
struct Since(Timestamp);

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let age = text.parse::<Span>().map(|span| now() - span.duration());
        let time = || {
            text.parse::<jiff::Timestamp>()
                .ok()
                .map(|t| t.as_millisecond())
        };
        let time = || time().and_then(|ms| u64::try_from(ms).ok()).map(Timestamp);
        age.ok().or_else(time).map(Self).ok_or_else(|| {
            format!("{text:?} is neither an age like 5m nor a time like 2026-01-31T12:00:00Z")
        })
    }
}

/// Prints lines as they come.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let query = LogQuery {
        follow: args.follow,
        tail: args.tail,
        since: args.since.map(|Since(at)| at),
    };
    let mut lines = context.client.logs(&args.app, &query).await?;
    while let Some(line) = lines.next().await? {
        context.out.print(&line, |line| text(line, &context.out))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(line: &LogLine, out: &Out) -> String {
    let instance = out.tint(&line.instance.to_string(), Tone::Faint);
    format!("{instance} {}\n", harmless(&line.text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn since_is_an_age_or_a_time() {
        let Since(age) = "5m".parse().unwrap();
        assert!(now().since(age).as_secs().abs_diff(300) < 5);
        let Since(time) = "1970-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(time, Timestamp(1000));
        assert!("yesterday".parse::<Since>().unwrap_err().contains("5m"));
    }
}
