//! Progress on a terminal, redrawn in place: a head line, what it waits for, and a line per instance.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hancock_proto::api::{DeploymentView, InstanceView};
use hancock_proto::report::Life;
use hancock_proto::time::Timestamp;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::cli::args::{length, now};
use crate::cli::out::{Out, Tone};
use crate::cli::show;
use crate::cli::table::{first_line, harmless, shorten};

/// Time between two pictures of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// Most instances shown; those on their way come first.
const MOST_INSTANCES: usize = 12;

/// Most lines of a reason.
const MOST_REASON: usize = 3;

/// Columns before a line's text.
const MARGIN: usize = 11;

/// Width of the column of states.
const STATE: usize = 8;

/// Width taken when the terminal does not tell its own.
const WIDTH: usize = 80;

/// The lines on the terminal: one bar whose picture has several, so that they are always drawn together.
pub struct Live {
    bar: ProgressBar,
    rows: Arc<Mutex<Vec<Row>>>,
}

/// One line, not longer than the terminal is wide.
#[derive(Debug, PartialEq)]
struct Row {
    /// A time that counts up from then.
    since: Option<Timestamp>,
    text: String,
}

impl Live {
    /// Nothing yet.
    pub fn new() -> Self {
        let rows = Arc::new(Mutex::new(Vec::new()));
        let shown = rows.clone();
        // Times go on by themselves between changes: every tick draws them anew.
        let picture = move |_: &ProgressState, to: &mut dyn Write| {
            let _ = to.write_str(&picture(&locked(&shown), now()));
        };
        let style = ProgressStyle::with_template("{spinner} {picture}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .with_key("picture", picture);
        Self {
            bar: ProgressBar::new_spinner().with_style(style),
            rows,
        }
    }

    /// Shows how things are now.
    pub fn show(&self, view: &DeploymentView, out: &Out) {
        self.draw(rows(view, out));
    }

    /// Shows `text` instead.
    pub fn notice(&self, text: &str, out: &Out) {
        let lines = wrap(&first_line(text), room(out)).into_iter();
        self.draw(lines.map(|text| Row { since: None, text }).collect());
    }

    /// Removes everything.
    pub fn close(&self) {
        self.bar.finish_and_clear();
    }

    fn draw(&self, rows: Vec<Row>) {
        *locked(&self.rows) = rows;
        self.bar.enable_steady_tick(TICK);
        self.bar.tick();
    }
}

fn locked(rows: &Mutex<Vec<Row>>) -> MutexGuard<'_, Vec<Row>> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All lines; the spinner stands before the first.
fn picture(rows: &[Row], now: Timestamp) -> String {
    let age = |row: &Row| row.since.map(|since| length(now.since(since)));
    let lines = rows
        .iter()
        .map(|row| format!("{:>7}  {}", age(row).unwrap_or_default(), row.text));
    lines.collect::<Vec<_>>().join("\n  ")
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
    let id = instance.id.to_string();
    let node = instance.node.as_ref().map(ToString::to_string);
    let reason = first_line(&show::reason(instance));
    let before = format!("{which}  {id:<width$}  ");
    let after = format!("  {}  {reason}", node.unwrap_or_default());
    let left = room(out).saturating_sub(before.chars().count() + STATE);
    let state = out.tint(&format!("{word:<STATE$}"), tone);
    format!("{before}{state}{}", shorten(after.trim_end(), left))
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
    fn a_picture_has_the_times_and_fits() {
        let mut web = view("starting", vec![instance("web-9", "starting")]);
        web.new[0].reason = Some("restart 2 of 2 after 2s: exited with code 3".to_owned());
        web.new[0].since = Timestamp(1000);
        let rows = rows(&web, &Out::narrow(50));
        assert_eq!(
            picture(&rows, Timestamp(3500)),
            "  3.5 s  web version 2 starting\n    2.5 s  new  web-9  starting  n1  restart 2 of…"
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
