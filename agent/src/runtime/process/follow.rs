//! Reads an instance's log files, and goes on reading.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use hancock_proto::hub::LogLine;
use hancock_proto::ids::InstanceId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::files::Folder;
use super::output::{files, parse};
use super::{Lines, LogQuery, RuntimeError};

/// Lines read ahead of whoever asked.
const AHEAD: usize = 256;

/// Most lines `tail` keeps in memory.
const MAX_TAIL: usize = 100_000;

/// New lines are looked for this often, and only while somebody follows.
const LOOK_AGAIN: Duration = Duration::from_millis(150);

type Sender = mpsc::Sender<Result<LogLine, RuntimeError>>;

/// Reads in a thread of its own; it ends when nobody listens any more.
pub(super) fn lines(folder: Folder, instance: InstanceId, query: LogQuery) -> Lines {
    let (send, lines) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let reader = Reader {
            folder,
            instance,
            query,
            send,
        };
        // None: nobody reads any more.
        let _ = reader.read();
    });
    ReceiverStream::new(lines).boxed()
}

struct Reader {
    folder: Folder,
    instance: InstanceId,
    query: LogQuery,
    send: Sender,
}

impl Reader {
    fn read(&self) -> Option<()> {
        let [oldest, older, newest] = files(&self.folder.log());
        // Opened first: when it is put aside meanwhile, this is still the file to go on with.
        let mut current = File::open(newest).ok().map(BufReader::new);
        let mut past = VecDeque::new();
        for file in [oldest, older] {
            if let Ok(file) = File::open(file) {
                self.each(&mut BufReader::new(file), |line| self.keep(&mut past, line))?;
            }
        }
        if let Some(file) = &mut current {
            self.each(file, |line| self.keep(&mut past, line))?;
        }
        past.into_iter().try_for_each(|line| self.tell(line))?;
        match self.query.follow {
            true => self.follow(current),
            false => Some(()),
        }
    }

    fn keep(&self, past: &mut VecDeque<LogLine>, line: LogLine) -> Option<()> {
        let Some(tail) = self.query.tail else {
            return self.tell(line);
        };
        past.push_back(line);
        if past.len() > tail.min(MAX_TAIL) {
            past.pop_front();
        }
        Some(())
    }

    fn follow(&self, mut current: Option<BufReader<File>>) -> Option<()> {
        while self.folder.path().exists() && !self.send.is_closed() {
            if let Some(file) = &mut current {
                self.each(file, |line| self.tell(line))?;
            }
            if !current
                .as_ref()
                .is_some_and(|c| is_at(c, &self.folder.log()))
            {
                current = File::open(self.folder.log()).ok().map(BufReader::new);
                if current.is_some() {
                    continue;
                }
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Some(())
    }

    /// Whole lines up to the end of the file as it is now. Half a line at the end stays for the next time.
    fn each(
        &self,
        file: &mut BufReader<File>,
        mut tell: impl FnMut(LogLine) -> Option<()>,
    ) -> Option<()> {
        let mut text = Vec::new();
        while file.read_until(b'\n', &mut text).is_ok_and(|n| n > 0) {
            if text.last() != Some(&b'\n') {
                let back = -i64::try_from(text.len()).unwrap_or(0);
                file.seek_relative(back).ok()?;
                break;
            }
            let line = String::from_utf8_lossy(&text[..text.len() - 1]);
            let line = parse(&line, &self.instance);
            if let Some(line) = line.filter(|l| self.query.since.is_none_or(|s| l.at >= s)) {
                tell(line)?;
            }
            text.clear();
        }
        Some(())
    }

    /// None: nobody reads any more.
    fn tell(&self, line: LogLine) -> Option<()> {
        self.send.blocking_send(Ok(line)).ok()
    }
}

/// Whether an open file is still the one under its name.
fn is_at(open: &BufReader<File>, path: &Path) -> bool {
    match (open.get_ref().metadata(), path.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}
