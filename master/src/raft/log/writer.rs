//! The one thread that writes the log: drains its queue into one write and one flush, then answers everybody who waited.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use super::record::{self, Kind, MAX_PAYLOAD};
use super::recover::{Recovered, Segment};
use super::segment;
use crate::raft::files::Files;
use crate::raft::sealed;
use crate::raft::types::Types;

/// File the vote is kept in.
pub(crate) const VOTE: &str = "vote";
/// Jobs that may wait; more makes Raft wait.
pub(crate) const QUEUE: usize = 1024;
/// Bytes gathered before one flush.
const BATCH_BYTES: usize = 4 << 20;
/// Length from which a new segment is begun.
const SEGMENT_BYTES: u64 = 8 << 20;

/// Something to write.
pub(crate) enum Job {
    /// Records, durable before `done`.
    Append {
        records: Vec<(Kind, Vec<u8>)>,
        /// Highest entry among them.
        highest: Option<u64>,
        done: Done,
    },
    /// Entries up to `upto` are void: after the record is durable, segments with nothing else are removed.
    Purge {
        payload: Vec<u8>,
        upto: u64,
        done: Done,
    },
    /// The vote, durable before `done`.
    Vote { payload: Vec<u8>, done: Done },
    /// Everything before is written; the thread ends.
    Stop(oneshot::Sender<()>),
}

/// Who waits for a write.
pub(crate) enum Done {
    Raft(IOFlushed<Types>),
    Caller(oneshot::Sender<io::Result<()>>),
}

impl Done {
    fn tell(self, result: io::Result<()>) {
        match self {
            Done::Raft(callback) => callback.io_completed(result),
            // The caller may have given up: nothing to tell.
            Done::Caller(tx) => drop(tx.send(result)),
        }
    }
}

/// The thread's state.
pub(crate) struct Writer {
    files: Arc<dyn Files>,
    segments: Vec<Segment>,
    sequence: u64,
    length: u64,
    /// How much of the last segment is durable.
    flushed: u64,
    segment_bytes: u64,
    buffer: Vec<u8>,
    waiting: Vec<Done>,
    must_flush: bool,
    /// After a failed write nothing is known about the file's end: no more writes.
    broken: Option<String>,
}

impl Writer {
    pub(crate) fn new(files: Arc<dyn Files>, recovered: &Recovered) -> Self {
        Self {
            files,
            segments: recovered.segments.clone(),
            sequence: recovered.sequence,
            length: recovered.length,
            flushed: recovered.length,
            segment_bytes: SEGMENT_BYTES,
            buffer: Vec::new(),
            waiting: Vec::new(),
            must_flush: false,
            broken: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Serves the queue until it closes or is told to stop.
    pub(crate) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            if self.turn(job, &mut jobs).is_break() {
                return;
            }
        }
        self.flush();
    }

    /// As [`Writer::run`], as a task that waits for `pause` before each turn: where everything that happens comes from a seed.
    #[cfg(test)]
    pub(crate) async fn serve<F: Future<Output = ()>>(
        mut self,
        mut jobs: mpsc::Receiver<Job>,
        mut pause: impl FnMut() -> F,
    ) {
        while let Some(job) = jobs.recv().await {
            pause().await;
            if self.turn(job, &mut jobs).is_break() {
                return;
            }
        }
        self.flush();
    }

    /// `job` and everything that waits behind it: one write, one flush.
    fn turn(&mut self, job: Job, jobs: &mut mpsc::Receiver<Job>) -> ControlFlow<()> {
        let mut next = Some(job);
        while let Some(job) = next.take() {
            if let Job::Stop(told) = job {
                self.flush();
                let _ = told.send(());
                return ControlFlow::Break(());
            }
            self.take(job);
            if self.buffer.len() < BATCH_BYTES {
                next = jobs.try_recv().ok();
            }
        }
        self.flush();
        ControlFlow::Continue(())
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Append {
                records,
                highest,
                done,
            } => self.append(records, highest, done),
            Job::Purge {
                payload,
                upto,
                done,
            } => self.purge(&payload, upto, done),
            Job::Vote { payload, done } => self.vote(&payload, done),
            Job::Stop(_) => {}
        }
    }

    fn append(&mut self, records: Vec<(Kind, Vec<u8>)>, highest: Option<u64>, done: Done) {
        if let Some((_, payload)) = records.iter().find(|(_, p)| p.len() > MAX_PAYLOAD) {
            let size = payload.len();
            let error = format!("a log entry of {size} bytes is larger than {MAX_PAYLOAD}");
            return done.tell(Err(io::Error::new(io::ErrorKind::InvalidInput, error)));
        }
        if let Err(error) = self.make_room() {
            self.break_down(&error);
        }
        for (kind, payload) in &records {
            self.record(*kind, payload);
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.highest = segment.highest.max(highest);
        }
        self.must_flush = true;
        self.waiting.push(done);
    }

    fn record(&mut self, kind: Kind, payload: &[u8]) {
        if self.segments.is_empty()
            && let Err(error) = self.make_room()
        {
            self.break_down(&error);
        }
        record::write(&mut self.buffer, self.sequence, self.flushed, kind, payload);
        self.sequence += 1;
    }

    /// Begins a new segment when there is none or the last one is full.
    fn make_room(&mut self) -> io::Result<()> {
        let ahead = self.length + self.buffer.len() as u64;
        if !self.segments.is_empty() && ahead < self.segment_bytes {
            return Ok(());
        }
        self.must_flush = !self.segments.is_empty();
        self.flush();
        if let Some(why) = &self.broken {
            return Err(io::Error::other(why.clone()));
        }
        let name = segment::create(&*self.files, self.sequence)?;
        self.segments.push(Segment {
            name,
            highest: None,
        });
        self.length = segment::HEADER as u64;
        self.flushed = self.length;
        Ok(())
    }

    fn purge(&mut self, payload: &[u8], upto: u64, done: Done) {
        self.record(Kind::Purge, payload);
        self.must_flush = true;
        self.flush();
        let result = match &self.broken {
            Some(why) => Err(io::Error::other(why.clone())),
            None => self.remove_segments(upto),
        };
        done.tell(result);
    }

    fn remove_segments(&mut self, upto: u64) -> io::Result<()> {
        while self.segments.len() > 1
            && self.segments[0]
                .highest
                .is_none_or(|highest| highest <= upto)
        {
            self.files.remove(&self.segments[0].name)?;
            self.segments.remove(0);
        }
        Ok(())
    }

    fn vote(&mut self, payload: &[u8], done: Done) {
        // In order: what was appended before the vote is durable before it.
        self.flush();
        let result = match &self.broken {
            Some(why) => Err(io::Error::other(why.clone())),
            None => sealed::write(&*self.files, VOTE, payload),
        };
        done.tell(result);
    }

    fn flush(&mut self) {
        let result = match &self.broken {
            Some(why) => Err(io::Error::other(why.clone())),
            None => self.write_out(),
        };
        if let Err(error) = &result {
            self.break_down(error);
        }
        for done in self.waiting.drain(..) {
            done.tell(match &result {
                Ok(()) => Ok(()),
                Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
            });
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let Some(segment) = self.segments.last() else {
            return Ok(());
        };
        if !self.buffer.is_empty() {
            self.files.append(&segment.name, &self.buffer)?;
            self.length += self.buffer.len() as u64;
            self.buffer.clear();
        }
        if self.must_flush {
            self.files.sync(&segment.name)?;
            self.flushed = self.length;
            self.must_flush = false;
        }
        Ok(())
    }

    fn break_down(&mut self, error: &io::Error) {
        if self.broken.is_none() {
            let file = self.segments.last().map(|s| self.files.path(&s.name));
            tracing::error!(?file, %error, "raft log cannot be written; this master stops taking part");
            self.broken = Some(format!("the raft log could not be written: {error}"));
        }
        self.buffer.clear();
    }
}
