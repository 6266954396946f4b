//! Progress as plain lines: one per phase, one per instance that settled somewhere. What passes within a second is not told.

use std::collections::BTreeMap;
use std::time::Duration;

use hancock_proto::api::{DeploymentView, InstanceView};
use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;

use crate::cli::args::length;
use crate::cli::show;
use crate::cli::table::first_line;

/// A state that something passes through is told when it has lasted so long.
const LASTING: Duration = Duration::from_secs(1);

/// Silence after which the reason of the wait is told; doubled each time.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest silence.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// What was told so far.
#[derive(Default)]
pub struct Lines {
    phase: String,
    instances: BTreeMap<InstanceId, Told>,
    /// When anything was told last.
    last: Timestamp,
    silence: Duration,
    notice: String,
}

/// What is known of one instance.
struct Told {
    word: &'static str,
    restarts: u32,
    since: Timestamp,
    told: bool,
}

impl Lines {
    /// Lines for what is new at `now`.
    pub fn news(&mut self, view: &DeploymentView, now: Timestamp) -> Vec<String> {
        self.notice.clear();
        let mut news = Vec::new();
        // How it ended is the last line, which the caller prints.
        if self.phase != view.phase && !view.done {
            self.phase.clone_from(&view.phase);
            news.push(view.phase.clone());
        }
        for instance in &view.new {
            news.extend(self.instance(instance, now, false));
        }
        for instance in &view.old {
            news.extend(self.instance(instance, now, true));
        }
        if news.is_empty() && !view.done {
            news.extend(self.reminder(view, now));
        } else {
            (self.last, self.silence) = (now, SILENCE);
        }
        let time = length(now.since(view.started));
        news.iter()
            .map(|line| format!("{time:>7}  {line}"))
            .collect()
    }

    /// Time until silence alone is worth a line.
    pub fn due(&self, now: Timestamp) -> Option<Duration> {
        let untold = self.instances.values().filter(|told| !told.told);
        let untold = untold.map(|told| told.since + LASTING);
        let silent = self.last + self.silence;
        let next = untold.chain([silent]).min()?;
        Some(next.since(now) + Duration::from_millis(10))
    }

    /// Whether `text` is no repetition.
    pub fn is_new(&mut self, text: &str) -> bool {
        let new = self.notice != text;
        text.clone_into(&mut self.notice);
        new
    }

    fn instance(&mut self, i: &InstanceView, now: Timestamp, old: bool) -> Option<String> {
        let (word, _) = show::state(i);
        let known = self.instances.get(&i.id);
        // An old one that simply goes on serving is no news.
        let quiet = old && known.is_none();
        let known = known.map(|k| (k.word, k.restarts));
        if known != Some((word, i.restarts)) {
            let told = Told {
                word,
                restarts: i.restarts,
                since: now,
                told: quiet,
            };
            self.instances.insert(i.id.clone(), told);
        }
        let again = known.is_some_and(|(_, restarts)| restarts != i.restarts);
        let told = self.instances.get_mut(&i.id)?;
        let lasting = !passes(word) || again || now.since(told.since) >= LASTING;
        if told.told || !lasting {
            return None;
        }
        told.told = true;
        Some(words(i, word))
    }

    fn reminder(&mut self, view: &DeploymentView, now: Timestamp) -> Option<String> {
        if now.since(self.last) < self.silence {
            return None;
        }
        self.last = now;
        self.silence = (self.silence * 2).min(LONGEST_SILENCE);
        match first_line(&view.reason).as_str() {
            "" => Some(format!("still {}", view.phase)),
            reason => Some(format!("still {}: {reason}", view.phase)),
        }
    }
}

/// Whether an instance in this state is on its way to another one.
fn passes(word: &str) -> bool {
    [
        "pending", "placed", "pulling", "starting", "running", "stopping",
    ]
    .contains(&word)
}

/// Who, state, node and reason in one line.
fn words(instance: &InstanceView, word: &str) -> String {
    let node = instance
        .node
        .as_ref()
        .map(|node| format!(" on {node}"))
        .unwrap_or_default();
    let reason = match word {
        // The reason would be that of an earlier restart.
        "ready" | "serving" | "draining" => String::new(),
        _ => first_line(&show::reason(instance)),
    };
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("{} {word}{node}{colon}{reason}", instance.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{instance, view};

    const BEGIN: Timestamp = Timestamp(0);

    fn at(ms: u64) -> Timestamp {
        BEGIN + Duration::from_millis(ms)
    }

    #[test]
    fn phases_and_settled_instances_are_told_once() {
        let mut lines = Lines::default();
        let mut now = view("starting", vec![instance("web-2", "starting")]);
        now.old = vec![instance("web-1", "running")];
        assert_eq!(lines.news(&now, at(0)), ["  0.0 s  starting"]);
        now.new[0].life = hancock_proto::report::Life::Running;
        now.reason = "1 of 2 ready".to_owned();
        assert!(lines.news(&now, at(300)).is_empty(), "it only passes");
        now.new[0].ready = Some(hancock_proto::report::Condition {
            value: true,
            since: BEGIN,
            reason: String::new(),
        });
        assert_eq!(lines.news(&now, at(400)), ["  0.4 s  web-2 ready on n1"]);
        assert!(lines.news(&now, at(450)).is_empty());
        now.old[0].life = hancock_proto::report::Life::Stopped;
        now.phase = "stopping".to_owned();
        assert_eq!(
            lines.news(&now, at(500)),
            ["  0.5 s  stopping", "  0.5 s  web-1 stopped on n1"]
        );
        now.done = true;
        now.phase = "successful".to_owned();
        assert!(
            lines.news(&now, at(60_000)).is_empty(),
            "the end is said by the caller"
        );
    }

    #[test]
    fn what_lasts_is_told_and_the_reason_in_ever_longer_intervals() {
        let mut lines = Lines::default();
        let mut now = view("starting", vec![instance("web-1", "pulling")]);
        now.reason = "0 of 1 ready; web-1 pulling".to_owned();
        assert_eq!(lines.news(&now, at(0)), ["  0.0 s  starting"]);
        assert!(lines.due(at(0)).is_some_and(|due| due <= LASTING * 2));
        assert_eq!(lines.news(&now, at(1000)), ["  1.0 s  web-1 pulling on n1"]);
        let mut told = Vec::new();
        for second in 2..60 {
            told.extend(lines.news(&now, at(second * 1000)));
        }
        assert_eq!(
            told,
            [6, 16, 36].map(|s| format!(
                "{:>7}  still starting: 0 of 1 ready; web-1 pulling",
                length(Duration::from_secs(s))
            ))
        );
    }

    #[test]
    fn a_restart_is_told_with_its_reason() {
        let mut lines = Lines::default();
        let mut now = view("starting", vec![instance("web-1", "starting")]);
        lines.news(&now, at(0));
        now.new[0].restarts = 1;
        now.new[0].reason =
            Some("restart 1 of 3 after 0s: exited with code 3\nlast words".to_owned());
        assert_eq!(
            lines.news(&now, at(100)),
            ["  0.1 s  web-1 starting on n1: restart 1 of 3 after 0s: exited with code 3"]
        );
        assert!(lines.news(&now, at(1500)).is_empty());
    }
}
