//! `hancock zone top`: what goes on in each service, drawn anew on a terminal, printed once elsewhere.

use std::process::ExitCode;
use std::time::Duration;

use hancock_proto::api::TopLine;
use hancock_proto::ids::ZoneName;

use crate::cli::Context;
use crate::cli::client::ClientError;
use crate::cli::out::{Out, Tone};
use crate::cli::table::{Cell, Table};

/// Time between two pictures; balancers tell a little more seldom.
const EVERY: Duration = Duration::from_secs(2);

/// Clears the terminal and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only services of this zone
    zone: Option<ZoneName>,
    /// Look once, also on a terminal
    #[arg(long)]
    once: bool,
}

/// Shows it.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let Context { client, out } = context;
    let zone = args.zone.as_ref();
    let mut lines = client.top(zone).await?;
    if args.once || !out.is_live() {
        out.print(&lines, |lines| text(lines, out))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut trouble = None;
    loop {
        out.text(&format!(
            "{CLEAR}{}",
            picture(&lines, trouble.as_ref(), out)
        ))?;
        tokio::time::sleep(EVERY).await;
        trouble = match client.top(zone).await {
            Ok(newer) => {
                lines = newer;
                None
            }
            Err(error) if error.is_passing() => Some(error),
            Err(error) => return Err(error.into()),
        };
    }
}

/// As many lines as the terminal has, the busiest first.
fn picture(lines: &[TopLine], trouble: Option<&ClientError>, out: &Out) -> String {
    let whole = text(lines, out);
    let room = out.height().unwrap_or(usize::MAX).saturating_sub(2).max(1);
    let mut shown: Vec<&str> = whole.lines().take(room).collect();
    let note = trouble.map(ToString::to_string);
    if let Some(note) = &note {
        shown.pop();
        shown.push(note);
    }
    shown.join("\n")
}

fn text(lines: &[TopLine], out: &Out) -> String {
    if lines.is_empty() {
        return "no requests since the balancers last told".to_owned();
    }
    let mut table = Table::new(&[
        "SERVICE",
        "OWNER",
        "REQUESTS/S",
        "ERRORS/S",
        "LATENCY",
        "BALANCERS",
    ]);
    for line in lines {
        let owner = line.app.as_ref().map(ToString::to_string);
        let tone = match line.errors > 0.0 {
            true => Tone::Bad,
            false => Tone::Faint,
        };
        table.row([
            Cell::from(&line.name),
            owner.unwrap_or_else(|| "by hand".to_owned()).into(),
            format!("{:.1}", line.requests).into(),
            Cell::toned(format!("{:.1}", line.errors), tone),
            format!("{:.1} ms", line.latency_ms).into(),
            line.balancers.into(),
        ]);
    }
    table.render(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::out::Format;

    #[test]
    fn a_picture_is_no_higher_than_the_terminal() {
        let line = |n: u32| TopLine {
            name: format!("s{n}.test").parse().unwrap(),
            app: None,
            requests: 12.34,
            errors: 0.0,
            latency_ms: 3.21,
            balancers: 2,
        };
        let lines: Vec<_> = (0..100).map(line).collect();
        let out = Out::narrow(80);
        assert_eq!(picture(&lines, None, &out).lines().count(), 22);
        let whole = text(&lines, &Out::new(Format::Text));
        assert_eq!(whole.lines().count(), 101);
        assert!(
            whole.contains("s7.test    by hand   12.3         0.0        3.2 ms    2"),
            "{whole}"
        );
        assert!(text(&[], &out).contains("no requests"));
    }
}
