//! How a deployment looks while it is waited for.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hancock_proto::api::{DeploymentView, InstanceView};
use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::args::now;
use crate::cli::out::Out;
use crate::cli::show;
use crate::cli::table::first_line;

/// Time between two pictures of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// One of three ways to show progress.
pub struct Display<'a> {
    out: &'a Out,
    kind: Kind,
    shown: bool,
}

enum Kind {
    /// Redrawn in place.
    Live(Live),
    /// A line when something changed; what was said last about whom.
    Lines(BTreeMap<String, String>),
    /// A JSON value per change; what was printed last.
    Json(Option<DeploymentView>),
}

impl<'a> Display<'a> {
    /// The kind that suits `out`.
    pub fn new(out: &'a Out) -> Self {
        let kind = match (out.is_json(), out.is_live()) {
            (true, _) => Kind::Json(None),
            (false, true) => Kind::Live(Live::new()),
            (false, false) => Kind::Lines(BTreeMap::new()),
        };
        Self {
            out,
            kind,
            shown: false,
        }
    }

    /// Whether anything was shown yet.
    pub fn has_shown(&self) -> bool {
        self.shown
    }

    /// Shows how things are now.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn show(&mut self, view: &DeploymentView) -> io::Result<()> {
        self.shown = true;
        match &mut self.kind {
            Kind::Json(last) => {
                // The index moves with the whole cluster; that alone is no change.
                let index = view.index;
                let told = last.as_ref().map(|last| DeploymentView {
                    index,
                    ..last.clone()
                });
                if told.as_ref() == Some(view) {
                    return Ok(());
                }
                *last = Some(view.clone());
                self.out.json(view)
            }
            Kind::Live(live) => {
                live.show(view, self.out);
                Ok(())
            }
            Kind::Lines(said) => changes(said, view)
                .iter()
                .try_for_each(|line| self.out.text(line)),
        }
    }

    /// Says something that is no change of the deployment.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn notice(&mut self, text: &str) -> io::Result<()> {
        match &mut self.kind {
            Kind::Json(_) => Ok(()),
            Kind::Live(live) => {
                live.head.set_message(first_line(text));
                Ok(())
            }
            Kind::Lines(said) => match said.insert("master".to_owned(), text.to_owned()) {
                Some(before) if before == text => Ok(()),
                _ => self.out.text(text),
            },
        }
    }

    /// Leaves the terminal to what comes after.
    pub fn close(self) {
        if let Kind::Live(live) = self.kind {
            let _ = live.bars.clear();
        }
    }
}

/// A line for every subject whose state differs from what was said last.
fn changes(said: &mut BTreeMap<String, String>, view: &DeploymentView) -> Vec<String> {
    let deployment = match view.reason.as_str() {
        "" => view.phase.clone(),
        reason => format!("{}: {}", view.phase, first_line(reason)),
    };
    // How it ended is the last line, which the caller prints.
    let deployment = (!view.done).then(|| (format!("deployment {}", view.id), deployment));
    let instances = view
        .new
        .iter()
        .map(|i| ("new", i))
        .chain(view.old.iter().map(|i| ("old", i)));
    let instances = instances.map(|(which, i)| (format!("{which} {}", i.id), words(i)));
    let mut lines = Vec::new();
    for (subject, state) in deployment.into_iter().chain(instances) {
        if said.get(&subject) != Some(&state) {
            lines.push(format!("{subject} {state}"));
            said.insert(subject, state);
        }
    }
    lines
}

/// State, node and reason in one line.
fn words(instance: &InstanceView) -> String {
    let (state, _) = show::state(instance);
    let node = instance
        .node
        .as_ref()
        .map(|node| format!(" on {node}"))
        .unwrap_or_default();
    match first_line(&show::reason(instance)).as_str() {
        "" => format!("{state}{node}"),
        reason => format!("{state}{node}: {reason}"),
    }
}

/// Bars of indicatif: a head line and one per instance, times counting up between changes.
struct Live {
    bars: MultiProgress,
    head: ProgressBar,
    instances: BTreeMap<InstanceId, ProgressBar>,
}

impl Live {
    fn new() -> Self {
        let bars = MultiProgress::new();
        let head = bars.add(bar());
        Self {
            bars,
            head,
            instances: BTreeMap::new(),
        }
    }

    fn show(&mut self, view: &DeploymentView, out: &Out) {
        let phase = out.tint(&view.phase, show::tone(view));
        let head = format!("{} version {} {phase}", view.app, view.version);
        self.head.set_message(match view.reason.as_str() {
            "" => head,
            reason => format!("{head}: {}", first_line(reason)),
        });
        count_from(&self.head, view.started);
        let new = view.new.iter().map(|instance| ("new", instance));
        let old = view.old.iter().map(|instance| ("old", instance));
        for (which, instance) in new.chain(old) {
            let bars = &self.bars;
            let bar = self
                .instances
                .entry(instance.id.clone())
                .or_insert_with(|| bars.add(bar()));
            bar.set_message(format!("{which} {} {}", instance.id, words(instance)));
            count_from(bar, instance.since);
        }
    }
}

/// Seconds go on by themselves between changes.
fn count_from(bar: &ProgressBar, since: Timestamp) {
    drop(bar.clone().with_elapsed(now().since(since)));
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{instance, view};

    #[test]
    fn a_line_is_said_when_something_changed() {
        let mut said = BTreeMap::new();
        let mut now = view("starting", vec![instance("web-1", "starting")]);
        now.reason = "waits for web-1".to_owned();
        assert_eq!(
            changes(&mut said, &now),
            [
                "deployment 7 starting: waits for web-1",
                "new web-1 starting on n1"
            ]
        );
        assert!(changes(&mut said, &now).is_empty());
        now.new = vec![instance("web-1", "failed")];
        now.new[0].reason = Some("exit status 3\nlast words".to_owned());
        assert_eq!(
            changes(&mut said, &now),
            ["new web-1 failed on n1: exit status 3"]
        );
        now.done = true;
        now.phase = "failed".to_owned();
        assert!(
            changes(&mut said, &now).is_empty(),
            "the end is said by the caller"
        );
    }
}
