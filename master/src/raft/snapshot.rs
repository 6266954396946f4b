//! A snapshot on its way to another master: a head that says what comes, then pieces of bounded size.

use std::time::Duration;

use hancock_master_core::{Format, State};
use hancock_wire::peers::PeerFrame;
use serde::{Deserialize, Serialize};
use tonic::{Status, Streaming};

use super::frame::{self, Ends};
use super::member::Seat;
use super::peers::refuse_newer;
use super::runtime::timeout;
use super::types::{Snapshot, SnapshotMeta, Vote};

/// Bytes of one piece.
const PIECE: usize = 1 << 20;
/// Largest snapshot taken: a thousand times what a large cluster has.
const LARGEST: u64 = 4 << 30;
/// Longest pause between two pieces.
const PAUSE: Duration = Duration::from_secs(10);

/// Said before the pieces.
#[derive(Serialize, Deserialize)]
struct Head {
    vote: Vote,
    meta: SnapshotMeta,
    /// Format of the state.
    #[serde(default, skip_serializing_if = "Format::is_first")]
    format: Format,
    /// Bytes of all pieces together.
    length: u64,
    /// CRC-32 of all pieces together.
    sum: u32,
}

/// The frames of a snapshot, cut as they are sent.
pub(super) fn frames(
    ends: &Ends,
    vote: &Vote,
    snapshot: Snapshot,
) -> Result<impl Iterator<Item = PeerFrame> + Send + 'static, Status> {
    let Snapshot { meta, snapshot } = snapshot;
    let head = ends.frame(&Head {
        vote: *vote,
        meta,
        format: State::format_of(&snapshot),
        length: snapshot.len() as u64,
        sum: crc32fast::hash(&snapshot),
    })?;
    let ends = ends.clone();
    let pieces = (0..snapshot.len()).step_by(PIECE).map(move |at| {
        let end = snapshot.len().min(at + PIECE);
        ends.raw(snapshot[at..end].to_vec())
    });
    Ok(std::iter::once(head).chain(pieces))
}

/// Puts a snapshot together again.
pub(super) async fn receive(
    mut frames: Streaming<PeerFrame>,
    seat: &Seat,
) -> Result<(Ends, Vote, Snapshot), Status> {
    let first = next(&mut frames).await?;
    let first = first.ok_or_else(|| Status::invalid_argument("the snapshot has no head"))?;
    let ends = Ends::of(&first, seat)?;
    let head: Head = frame::read(&first)?;
    if !head.format.is_known() {
        return Err(refuse_newer("the leader's snapshot", head.format));
    }
    if head.length > LARGEST {
        let length = head.length;
        return Err(Status::resource_exhausted(format!(
            "a snapshot of {length} bytes is larger than the {LARGEST} taken"
        )));
    }
    let bytes = pieces(&mut frames, &ends, head.length).await?;
    if bytes.len() as u64 != head.length || crc32fast::hash(&bytes) != head.sum {
        return Err(Status::data_loss(format!(
            "the snapshot's {} bytes are not the {} announced",
            bytes.len(),
            head.length
        )));
    }
    let snapshot = Snapshot {
        meta: head.meta,
        snapshot: bytes,
    };
    Ok((ends, head.vote, snapshot))
}

async fn pieces(
    frames: &mut Streaming<PeerFrame>,
    ends: &Ends,
    length: u64,
) -> Result<Vec<u8>, Status> {
    let mut bytes = Vec::new();
    while let Some(piece) = next(frames).await? {
        ends.judge(&piece)?;
        bytes.extend(piece.body);
        if bytes.len() as u64 > length {
            return Err(Status::invalid_argument(
                "the snapshot is longer than its head says",
            ));
        }
    }
    Ok(bytes)
}

async fn next(frames: &mut Streaming<PeerFrame>) -> Result<Option<PeerFrame>, Status> {
    let late = |_| Status::deadline_exceeded("the next piece of the snapshot did not come");
    timeout(PAUSE, frames.message()).await.map_err(late)?
}
