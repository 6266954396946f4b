//! Progress on a terminal, redrawn in place: a head line, what it waits for, and a line per instance.

use std::fmt::Write;
use std::time::Duration;

use hancock_proto::api::{DeploymentView, InstanceView};
use hancock_proto::report::Life;
use hancock_proto::time::Timestamp;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::cli::args::{length, now};
use crate::cli::out::{Out, Tone};
use crate::cli::show;
use crate::cli::table::{first_line, harmless};

/// Time between two pictures of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// Most instances shown; those on their way come first.
const MOST_INSTANCES: usize = 12;

/// Most lines of a reason.
const MOST_REASON: usize = 3;

/// Columns before a line's text.
const MARGIN: usize = 11;

/// Width taken when the terminal does not tell its own.
const WIDTH: usize = 80;

/// The lines on the terminal.
pub struct Live {
    bars: MultiProgress,
    rows: Vec<ProgressBar>,
}

/// One line.
#[derive(Debug, PartialEq)]
struct Row {
    /// A time that counts up from then.
    since: Option<Timestamp>,
    text: String,
}

impl Live {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            bars: MultiProgress::new(),
            rows: Vec::new(),
        }
    }

    /// Shows how things are now.
    pub fn show(&mut self, view: &DeploymentView, out: &Out) {
        self.draw(&rows(view, out));
    }

    /// Shows `text` instead.
    pub fn notice(&mut self, text: &str, out: &Out) {
        let lines = wrap(&first_line(text), room(out)).into_iter();
        let rows: Vec<Row> = lines.map(|text| Row { since: None, text }).collect();
        self.draw(&rows);
    }

    /// Removes everything.
    pub fn close(self) {
        let _ = self.bars.clear();
    }

    fn draw(&mut self, rows: &[Row]) {
        while self.rows.len() < rows.len() {
            self.rows.push(self.bars.add(bar()));
        }
        for gone in self.rows.drain(rows.len()..) {
            self.bars.remove(&gone);
        }
        for (n, (bar, row)) in self.rows.iter().zip(rows).enumerate() {
            bar.set_style(style(n == 0, row.since.is_some()));
            bar.set_message(row.text.clone());
            if let Some(since) = row.since {
                // Seconds go on by themselves between changes.
                drop(bar.clone().with_elapsed(now().since(since)));
            }
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(TICK);
    bar
}

fn style(head: bool, timed: bool) -> ProgressStyle {
    // Cut at the end of the line: a line that wraps cannot be redrawn.
    let template = match (head, timed) {
        (true, _) => "{spinner} {age:>7}  {wide_msg}",
        (false, true) => "  {age:>7}  {wide_msg}",
        (false, false) => "           {wide_msg}",
    };
    let age = |state: &ProgressState, text: &mut dyn Write| {
        let _ = write!(text, "{}", length(state.elapsed()));
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("age", age)
}

fn rows(view: &DeploymentView, out: &Out) -> Vec<Row> {
    let phase = out.tint(&view.phase, show::tone(view));
    let (brief, reason) = reason(view);
    let colon = if brief.is_empty() { "" } else { ": " };
    let head = format!(
        "{} version {} {phase}{colon}{brief}",
        view.app, view.version
    );
    let mut rows = vec![Row {
        since: Some(view.started),
        text: head,
    }];
    let mut lines = wrap(&reason, room(out));
    lines.truncate(MOST_REASON);
    rows.extend(lines.into_iter().map(|text| Row { since: None, text }));
    rows.extend(instances(view, out));
    rows
}

/// A few words for the head line, and what does not fit there and is not told by the instances.
fn reason(view: &DeploymentView) -> (String, String) {
    let whole = first_line(&view.reason);
    match (whole.split_once("; "), view.phase.as_str()) {
        (Some((brief, _)), "starting" | "stopping") => (brief.to_owned(), String::new()),
        (Some((brief, rest)), _) => (brief.to_owned(), rest.to_owned()),
        (None, _) => (whole, String::new()),
    }
}

fn instances(view: &DeploymentView, out: &Out) -> Vec<Row> {
    let new = view.new.iter().map(|i| ("new", i));
    let old = view.old.iter().map(|i| ("old", i));
    let mut all: Vec<(&str, &InstanceView)> = new.chain(old).collect();
    let more = all.len().saturating_sub(MOST_INSTANCES);
    if more > 0 {
        // Stable: those of one kind stay in their order.
        all.sort_by_key(|(_, i)| is_settled(i));
        all.truncate(MOST_INSTANCES);
    }
    let width = all.iter().map(|(_, i)| i.id.to_string().len()).max();
    let mut rows: Vec<Row> = all
        .iter()
        .map(|(which, i)| Row {
            since: (*which == "new" || i.life > Life::Running).then_some(i.since),
            text: line(which, i, width.unwrap_or(0), out),
        })
        .collect();
    if more > 0 {
        let text = format!("… and {more} more");
        rows.push(Row { since: None, text });
    }
    rows
}

fn is_settled(instance: &InstanceView) -> bool {
    let (_, tone) = show::state(instance);
    matches!(tone, Tone::Good | Tone::Faint)
}

fn line(which: &str, instance: &InstanceView, width: usize, out: &Out) -> String {
    let (word, tone) = show::state(instance);
    let state = out.tint(&format!("{word:<8}"), tone);
    let id = instance.id.to_string();
    let node = instance.node.as_ref().map(ToString::to_string);
    let node = node.unwrap_or_default();
    let reason = first_line(&show::reason(instance));
    let text = format!("{which}  {id:<width$}  {state}  {node}  {reason}");
    text.trim_end().to_owned()
}

/// Columns a line's text has.
fn room(out: &Out) -> usize {
    out.width().unwrap_or(WIDTH).saturating_sub(MARGIN).max(20)
}

/// `text` in lines of at most `room` characters, broken between words where there are any.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in harmless(text).split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{instance, view};

    #[test]
    fn the_head_line_is_brief_and_instances_stand_in_columns() {
        let mut web = view(
            "starting",
            vec![instance("web-9", "running"), instance("web-10", "starting")],
        );
        web.reason = "0 of 2 ready; web-9 running (503), web-10 starting".to_owned();
        let out = Out::narrow(80);
        let texts: Vec<String> = rows(&web, &out).into_iter().map(|r| r.text).collect();
        assert_eq!(
            texts,
            [
                "web version 2 starting: 0 of 2 ready",
                "new  web-9   running   n1",
                "new  web-10  starting  n1"
            ]
        );
    }

    #[test]
    fn a_long_reason_has_lines_of_its_own() {
        let mut web = view("placing", Vec::new());
        web.reason = "0 of 2 placed; n1: 100MiB of 1GiB memory wanted are free".to_owned();
        let rows = rows(&web, &Out::narrow(40));
        let texts: Vec<&str> = rows.iter().map(|r| r.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "web version 2 placing: 0 of 2 placed",
                "n1: 100MiB of 1GiB memory",
                "wanted are free"
            ]
        );
    }

    #[test]
    fn of_many_instances_those_on_their_way_are_shown() {
        let mut many: Vec<_> = (0..40)
            .map(|n| instance(&format!("web-{n}"), "stopped"))
            .collect();
        many.push(instance("web-99", "starting"));
        let rows = rows(&view("starting", many), &Out::narrow(80));
        assert_eq!(rows.len(), 1 + MOST_INSTANCES + 1);
        assert!(rows[1].text.contains("web-99"));
        assert_eq!(rows[13].text, "… and 29 more");
    }
}
