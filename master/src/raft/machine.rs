//! The replicated state under Raft: applied in memory, restored from a sealed snapshot and the log.
//!
//! Readers take the newest state without a lock; it is swapped once per batch of entries, before anybody is answered, so that who got
//! an answer also sees the write.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::{Stream, StreamExt};
use hancock_master_core::{Command, Format, Reply, State};
use hancock_proto::api::ApiError;
use hancock_proto::ids::{LogIndex, Revision, Term};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::error::StoreError;
use super::files::Files;
use super::once::Once;
use super::runtime::blocking;
use super::sealed;
use super::types::{Answer, Entry, LogId, Membership, Snapshot, SnapshotMeta, Types, Write};

/// File the newest snapshot is kept in.
const SNAPSHOT: &str = "snapshot";

/// The state as of one entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    pub(crate) state: State,
    once: Once,
    pub(super) last: Option<LogId>,
    pub(super) membership: Membership,
}

impl Applied {
    /// A state that comes from elsewhere.
    #[cfg(test)]
    pub(crate) fn of(state: State) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }
}

impl Applied {
    /// What was answered under a key.
    pub(crate) fn answered(&self, key: &str) -> Option<Reply> {
        self.once.answer(key)
    }
}

impl Applied {
    /// Whether every master knows a format, by the membership as of this entry.
    fn all_know(&self, format: Format) -> bool {
        let mut masters = self.membership.nodes();
        masters.all(|(_, member)| member.knows >= format)
    }
}

fn unknown(format: Format) -> ApiError {
    ApiError {
        code: "outdated".into(),
        message: format!("write format {format}: there is a master now that does not know it"),
        problems: Vec::new(),
    }
}

/// What readers and writers of the state share.
pub(crate) struct Shared {
    newest: ArcSwap<Applied>,
    index: watch::Sender<LogIndex>,
    revision: watch::Sender<Revision>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            newest: ArcSwap::default(),
            index: watch::Sender::new(LogIndex(0)),
            revision: watch::Sender::new(Revision(0)),
        }
    }
}

impl Shared {
    /// The newest state.
    pub(crate) fn newest(&self) -> Arc<Applied> {
        self.newest.load_full()
    }

    /// Told after every batch.
    pub(crate) fn index(&self) -> watch::Receiver<LogIndex> {
        self.index.subscribe()
    }

    /// Told when the embedded registry has changed.
    pub(crate) fn revision(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    fn put(&self, applied: Applied) {
        let index = LogIndex(applied.last.map_or(0, |id| id.index));
        let revision = applied.state.registry.revision();
        self.newest.store(Arc::new(applied));
        self.index.send_replace(index);
        self.revision.send_if_modified(|have| {
            let changed = *have != revision;
            *have = revision;
            changed
        });
    }
}

/// The state machine. Clones share it.
#[derive(Clone)]
pub(crate) struct Machine {
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
}

/// Stored before the state's own bytes, as one line of JSON.
#[derive(Serialize, Deserialize)]
struct Head {
    meta: SnapshotMeta,
}

impl Machine {
    /// An empty state, or the one of the newest snapshot.
    pub(crate) fn open(files: Arc<dyn Files>) -> Result<Self, StoreError> {
        let machine = Self {
            shared: Arc::default(),
            files,
        };
        if let Some(snapshot) = read_snapshot(&*machine.files)? {
            let applied = restore(&*machine.files, &snapshot.meta, &snapshot.snapshot)?;
            tracing::info!(
                index = applied.last.map(|id| id.index),
                "state restored from snapshot"
            );
            machine.shared.put(applied);
        }
        Ok(machine)
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }
}

fn read_snapshot(files: &dyn Files) -> Result<Option<Snapshot>, StoreError> {
    let Some(bytes) = sealed::read(files, SNAPSHOT)? else {
        return Ok(None);
    };
    let damaged = |what: String| StoreError::damaged(files.path(SNAPSHOT), 0, what);
    let end = bytes
        .iter()
        .position(|b| *b == b'\n')
        .ok_or_else(|| damaged("it has no head".into()))?;
    let head: Head = serde_json::from_slice(&bytes[..end]).map_err(|e| damaged(e.to_string()))?;
    Ok(Some(Snapshot {
        meta: head.meta,
        snapshot: bytes[end + 1..].to_vec(),
    }))
}

pub(super) fn write_snapshot(
    files: &dyn Files,
    meta: &SnapshotMeta,
    state: &[u8],
) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(&Head { meta: meta.clone() }).map_err(io::Error::other)?;
    bytes.push(b'\n');
    bytes.extend(state);
    sealed::write(files, SNAPSHOT, &bytes)
}

/// A snapshot's bytes: the state, a line break, what was answered under keys.
pub(crate) fn encode(applied: &Applied) -> io::Result<Vec<u8>> {
    let mut bytes = applied.state.encode();
    bytes.push(b'\n');
    serde_json::to_writer(&mut bytes, &applied.once)?;
    Ok(bytes)
}

/// Why bytes are no snapshot.
pub(crate) enum Undecodable {
    /// Of a format only a newer version knows.
    Newer(Format),
    Broken(String),
}

/// The state in a snapshot's bytes, at no place in any log.
pub(crate) fn decode(bytes: &[u8]) -> Result<Applied, Undecodable> {
    // A snapshot written before there were keys ends with the state.
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (state, once) = bytes.split_at(end.unwrap_or(bytes.len()));
    let once: Once = match once {
        [] => Once::default(),
        once => serde_json::from_slice(once).map_err(|e| Undecodable::Broken(e.to_string()))?,
    };
    let state = State::decode(state).map_err(|error| match error {
        hancock_master_core::SnapshotError::Newer { found } => Undecodable::Newer(found),
        hancock_master_core::SnapshotError::Broken(_) => Undecodable::Broken(error.to_string()),
    })?;
    Ok(Applied {
        state,
        once,
        ..Applied::default()
    })
}

fn restore(files: &dyn Files, meta: &SnapshotMeta, bytes: &[u8]) -> Result<Applied, StoreError> {
    let path = files.path(SNAPSHOT);
    let applied = decode(bytes).map_err(|error| match error {
        Undecodable::Newer(found) => StoreError::Newer {
            path,
            found: found.0,
            known: Format::NEWEST.0,
        },
        Undecodable::Broken(what) => StoreError::damaged(path, 0, what),
    })?;
    Ok(Applied {
        last: meta.last_log_id,
        membership: meta.last_membership.clone(),
        ..applied
    })
}

/// What a later version wrote is not guessed.
fn refuse_newer(entry: &Entry) -> io::Result<()> {
    match &entry.payload {
        EntryPayload::Normal(write) if !write.v.is_known() => Err(io::Error::other(format!(
            "entry {} is of format {}, this version knows formats up to {}: start the newer version again",
            entry.log_id.index,
            write.v,
            Format::NEWEST
        ))),
        _ => Ok(()),
    }
}

/// Carries out one entry.
pub(super) fn apply(applied: &mut Applied, entry: Entry) -> Answer {
    applied.last = Some(entry.log_id);
    match entry.payload {
        EntryPayload::Blank => Answer(None),
        EntryPayload::Normal(write) => Answer(Some(carry_out(applied, entry.log_id, &write))),
        EntryPayload::Membership(membership) => {
            applied.membership = Membership::new(Some(entry.log_id), membership);
            Answer(None)
        }
    }
}

fn carry_out(applied: &mut Applied, id: LogId, write: &Write) -> Reply {
    let known = write.key.as_ref().and_then(|key| applied.once.answer(key));
    if let Some(reply) = known {
        return reply;
    }
    let (index, term) = (LogIndex(id.index), Term(id.leader_id.term));
    let reply = match &*write.command {
        // Who has gone back to the version before meanwhile could not go on.
        Command::AgreeFormat { format, .. } if !applied.all_know(*format) => {
            Reply::Refused(unknown(*format))
        }
        command => applied.state.apply(index, term, command),
    };
    if let Some(key) = &write.key {
        applied.once.remember(key, &reply);
    }
    reply
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        let applied = self.shared.newest();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut applied = Applied::clone(&self.shared.newest());
        let mut answers = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            refuse_newer(&entry)?;
            let answer = apply(&mut applied, entry);
            answers.extend(responder.map(|responder| (responder, answer)));
        }
        self.shared.put(applied);
        for (responder, answer) in answers {
            responder.send(answer);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        // A builder works on the state as of now, whatever is applied meanwhile.
        let frozen = Shared::default();
        frozen.newest.store(self.shared.newest());
        Self {
            shared: Arc::new(frozen),
            files: self.files.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Vec<u8>) -> io::Result<()> {
        let applied = restore(&*self.files, meta, &snapshot)?;
        let (files, meta) = (self.files.clone(), meta.clone());
        let write = move || write_snapshot(&*files, &meta, &snapshot);
        blocking(write).await??;
        self.shared.put(applied);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let files = self.files.clone();
        Ok(blocking(move || read_snapshot(&*files)).await??)
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (applied, files) = (self.shared.newest(), self.files.clone());
        let build = move || {
            let meta = SnapshotMeta {
                last_log_id: applied.last,
                last_membership: applied.membership.clone(),
            };
            let snapshot = encode(&applied)?;
            write_snapshot(&*files, &meta, &snapshot)?;
            Ok(Snapshot { meta, snapshot })
        };
        blocking(build).await?
    }
}
