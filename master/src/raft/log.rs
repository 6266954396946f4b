//! The Raft log on disk: append-only segments, written by one thread, read from memory.
//!
//! Entries not yet purged are all in memory, so reading never touches the disk and an entry is readable before it is durable, as Raft
//! wants. Vote: a small sealed file. The committed index rides in the log with the next entries, without a write of its own: a lost one
//! only means that Raft commits again what is durable anyway.

mod record;
mod recover;
mod segment;
mod writer;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use self::record::Kind;
pub(super) use self::recover::format_of;
#[cfg(test)]
pub(super) use self::segment::FORMAT;
pub(super) use self::writer::VOTE;
use self::writer::{Done, Job, Writer};
use super::error::StoreError;
use super::files::Files;
use super::sealed;
use super::types::{Entry, LogId, Types, Vote};

/// Bytes of entries sent to a follower at once; a single larger entry is sent by itself.
pub(super) const BATCH: usize = 1 << 20;

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    memory: Arc<Mutex<Memory>>,
    jobs: mpsc::Sender<Job>,
}

#[derive(Default)]
struct Memory {
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    /// The log does not say yet how far it is committed.
    unsaid: bool,
    vote: Option<Vote>,
}

impl LogStore {
    /// Reads back what is there and starts the writer.
    pub(crate) fn open(files: Arc<dyn Files>) -> Result<Self, StoreError> {
        Self::open_with(files, |writer| writer)
    }

    fn open_with(
        files: Arc<dyn Files>,
        adjust: impl FnOnce(Writer) -> Writer,
    ) -> Result<Self, StoreError> {
        let (log, writer, queue) = Self::read(&files)?;
        let writer = adjust(writer);
        std::thread::Builder::new()
            .name("raft-log".into())
            .spawn(move || writer.run(queue))
            .map_err(|e| StoreError::io("start the writer of", files.path(""), e))?;
        Ok(log)
    }

    /// With a task for a writer, short segments, and a disk as slow as `pause` says each time.
    #[cfg(test)]
    pub(super) fn open_slow<F: Future<Output = ()> + Send + 'static>(
        files: Arc<dyn Files>,
        pause: impl FnMut() -> F + Send + 'static,
    ) -> Result<Self, StoreError> {
        const SEGMENT: u64 = 4000;
        let (log, writer, queue) = Self::read(&files)?;
        let writer = writer.with_segment_bytes(SEGMENT);
        drop(super::runtime::spawn(writer.serve(queue, pause)));
        Ok(log)
    }

    fn read(files: &Arc<dyn Files>) -> Result<(Self, Writer, mpsc::Receiver<Job>), StoreError> {
        let recovered = recover::recover(&**files)?;
        let vote = read_vote(&**files)?;
        let writer = Writer::new(files.clone(), &recovered);
        let (jobs, queue) = mpsc::channel(writer::QUEUE);
        let memory = Memory {
            entries: recovered.entries,
            purged: recovered.purged,
            committed: recovered.committed,
            unsaid: false,
            vote,
        };
        let memory = Arc::new(Mutex::new(memory));
        Ok((Self { memory, jobs }, writer, queue))
    }

    /// Ends the writer after everything queued is written.
    pub(crate) async fn close(&self) {
        let (told, ended) = oneshot::channel();
        if let Err(error) = self.say_committed().await {
            tracing::debug!(%error, "how far the log is committed was not written");
        }
        if self.jobs.send(Job::Stop(told)).await.is_ok() {
            // An error means the writer is gone already.
            drop(ended.await);
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record of how far the log is committed, where it is not there yet.
    fn unsaid(&self) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let mut memory = self.memory();
        if !std::mem::take(&mut memory.unsaid) {
            return Ok(None);
        }
        Ok(Some((Kind::Committed, json(&memory.committed)?)))
    }

    async fn say_committed(&self) -> io::Result<()> {
        let Some(record) = self.unsaid()? else {
            return Ok(());
        };
        self.carry_out(|done| Job::Append {
            records: vec![record],
            highest: None,
            done,
        })
        .await
    }

    async fn send(&self, job: Job) -> io::Result<()> {
        let gone = |_| io::Error::other("the raft log was closed");
        self.jobs.send(job).await.map_err(gone)
    }

    async fn carry_out(&self, job: impl FnOnce(Done) -> Job) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        self.send(job(Done::Caller(tx))).await?;
        rx.await
            .unwrap_or_else(|_| Err(io::Error::other("the raft log was closed")))
    }
}

/// Entries and vote of a log nobody writes.
pub(super) fn read(files: &dyn Files) -> Result<(BTreeMap<u64, Entry>, Option<Vote>), StoreError> {
    Ok((recover::recover(files)?.entries, read_vote(files)?))
}

/// Puts a vote in place where nobody writes.
pub(super) fn write_vote(files: &dyn Files, vote: &Vote) -> io::Result<()> {
    sealed::write(files, VOTE, &json(vote)?)
}

fn read_vote(files: &dyn Files) -> Result<Option<Vote>, StoreError> {
    let Some(bytes) = sealed::read(files, VOTE)? else {
        return Ok(None);
    };
    let read = serde_json::from_slice(&bytes);
    read.map_err(|e| StoreError::damaged(files.path(VOTE), 0, e.to_string()))
}

fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let memory = self.memory();
        Ok(memory
            .entries
            .range(range)
            .map(|(_, e)| e.clone())
            .collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.memory().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let entries: Vec<Entry> = {
            let memory = self.memory();
            memory
                .entries
                .range(start..end)
                .map(|(_, e)| e.clone())
                .collect()
        };
        bounded(entries)
    }
}

/// The first entries that fit into a batch; one at least.
fn bounded(entries: Vec<Entry>) -> io::Result<Vec<Entry>> {
    let mut taken = Vec::with_capacity(entries.len());
    let mut bytes = 0;
    for entry in entries {
        bytes += json(&entry)?.len();
        if bytes > BATCH && !taken.is_empty() {
            break;
        }
        taken.push(entry);
    }
    Ok(taken)
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let memory = self.memory();
        let last = memory.entries.last_key_value().map(|(_, e)| e.log_id);
        Ok(LogState {
            last_purged_log_id: memory.purged,
            last_log_id: last.or(memory.purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let payload = json(vote)?;
        self.carry_out(|done| Job::Vote { payload, done }).await?;
        self.memory().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut memory = self.memory();
        memory.committed = committed;
        memory.unsaid = true;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.memory().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut records = Vec::with_capacity(entries.len() + 1);
        records.extend(self.unsaid()?);
        for entry in &entries {
            records.push((Kind::Entry, json(entry)?));
        }
        let highest = entries.last().map(|entry| entry.log_id.index);
        let entries = entries.into_iter().map(|entry| (entry.log_id.index, entry));
        self.memory().entries.extend(entries);
        self.send(Job::Append {
            records,
            highest,
            done: Done::Raft(callback),
        })
        .await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        recover::truncate(&mut self.memory().entries, last.as_ref());
        let records = vec![(Kind::Truncate, json(&last)?)];
        self.carry_out(|done| Job::Append {
            records,
            highest: None,
            done,
        })
        .await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        {
            let mut memory = self.memory();
            recover::purge(&mut memory.entries, &upto);
            memory.purged = memory.purged.max(Some(upto));
        }
        let payload = json(&upto)?;
        self.carry_out(|done| Job::Purge {
            payload,
            upto: upto.index,
            done,
        })
        .await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
