//! Many logs in the order of their times.
//!
//! While reading what was already printed, the oldest line of all logs goes first, which needs a line of each; one whose node says
//! nothing for a while is given up. Followed logs have no end to sort towards: their lines go out as they come.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hancock_proto::hub::{LogChunk, LogLine, Stream};
use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;
use tokio::sync::mpsc;

use crate::hub::LogStream;

/// A node that answers nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// One instance's log.
pub(super) struct Source {
    instance: InstanceId,
    log: Option<LogStream>,
    lines: VecDeque<LogLine>,
    /// Time of the last line, for lines of our own.
    last: Timestamp,
}

impl Source {
    pub(super) fn open(instance: InstanceId, log: LogStream) -> Self {
        Self {
            instance,
            log: Some(log),
            lines: VecDeque::new(),
            last: Timestamp(0),
        }
    }

    /// A log that is only one line long.
    pub(super) fn ended(line: LogLine) -> Self {
        Self {
            instance: line.instance.clone(),
            log: None,
            last: line.at,
            lines: VecDeque::from([line]),
        }
    }

    /// Reads until there is a line or the log has ended. Giving up in between loses nothing.
    async fn fill(&mut self) {
        while self.lines.is_empty() {
            let Some(log) = &mut self.log else { return };
            match log.next().await {
                Some(chunk) => self.take(chunk),
                None => {
                    self.log = None;
                    self.say("hancock: the log ends here: the connection to its node was lost or this reader was too slow");
                }
            }
        }
    }

    fn take(&mut self, chunk: LogChunk) {
        self.last = chunk.lines.last().map_or(self.last, |line| line.at);
        self.lines.extend(chunk.lines);
        match chunk.end {
            None => {}
            Some(end) => {
                self.log = None;
                if let Err(reason) = end {
                    self.say(&format!("hancock: no more log: {reason}"));
                }
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.lines.push_back(LogLine {
            instance: self.instance.clone(),
            at: self.last,
            stream: Stream::Stderr,
            text: text.to_owned(),
        });
    }

    fn is_over(&self) -> bool {
        self.log.is_none() && self.lines.is_empty()
    }
}

/// The merged log.
pub(super) struct Merge {
    sources: Vec<Source>,
    follow: bool,
}

impl Merge {
    pub(super) fn new(sources: Vec<Source>, follow: bool) -> Self {
        Self { sources, follow }
    }

    /// Sends every line; ends when all logs have ended or the reader is gone.
    pub(super) async fn run(mut self, out: &mpsc::Sender<LogLine>) {
        while !self.sources.is_empty() {
            self.gather().await;
            while let Some(line) = self.next_line() {
                if out.send(line).await.is_err() {
                    return;
                }
            }
            self.sources.retain(|source| !source.is_over());
        }
    }

    /// Waits for a line of every log that is still open, or of any when following or out of patience.
    async fn gather(&mut self) {
        let follow = self.follow;
        let mut filling: FuturesUnordered<_> = self.sources.iter_mut().map(Source::fill).collect();
        if follow {
            filling.next().await;
            return;
        }
        let all = async { while filling.next().await.is_some() {} };
        let all_filled = tokio::time::timeout(PATIENCE, all).await;
        drop(filling);
        if all_filled.is_err() {
            self.give_up_silent();
        }
    }

    fn give_up_silent(&mut self) {
        for source in &mut self.sources {
            if source.lines.is_empty() && source.log.take().is_some() {
                source.say("hancock: no more log: its node does not answer");
            }
        }
    }

    /// The oldest line, as long as every open log has one, or of any when following.
    fn next_line(&mut self) -> Option<LogLine> {
        let waits = |s: &Source| s.lines.is_empty() && s.log.is_some();
        if !self.follow && self.sources.iter().any(waits) {
            return None;
        }
        let oldest = self
            .sources
            .iter_mut()
            .filter(|s| !s.lines.is_empty())
            .min_by_key(|s| s.lines.front().map(|line| line.at))?;
        oldest.lines.pop_front()
    }
}
